"""The ``_bulk`` API of OpenSearch and Elasticsearch: request bodies and responses.

There is an index for each day, so that old messages are deleted by index.  The document id is a hash of a
message's position and text, which makes delivery idempotent: sending a message retry adds no duplicate.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from cenote.logs.messages import Message
from cenote.logs.place import Place
from cenote.model.paths import FIRST_NODE

_DAY = re.compile(r"(\d{4})\.(\d\d)\.(\d\d)")
_INDEXED = frozenset({200, 201, 409})  # 409: a document with this id exists
# Errors with status 400 that are not the message's fault, such as too many shards.
_RETRYABLE = frozenset({"validation_exception"})


@dataclass(frozen=True, slots=True)
class BulkResult:
    """The outcome of a request: messages to ``retry``, messages rejected for good, and the first error."""

    retry: tuple[Message, ...] = field(default=(), repr=False)
    refused: tuple[Message, ...] = field(default=(), repr=False)
    reason: str = ""


def body(messages: Iterable[Message], *, prefix: str, place: Place) -> bytes:
    """Return the body: for each message a line with the action and one with the document."""
    lines = []
    for message in messages:
        at = message.at or datetime.now(UTC)
        document: dict[str, Any] = {
            "@timestamp": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "message": message.text,
            "severity": message.severity,
            "source": message.source,
            "cluster": place.cluster,
            "cluster_id": place.cluster_id,
            "node": place.node,
            "host": place.host,
            "process": message.process,
            "user": message.user,
            "database": message.database,
            "application": message.application,
        }
        action = {"create": {"_index": f"{prefix}-{at:%Y.%m.%d}", "_id": document_id(message, place)}}
        lines.append(msgspec.json.encode(action))
        lines.append(
            msgspec.json.encode({name: value for name, value in document.items() if value not in (None, "")})
        )
    return b"\n".join(lines) + b"\n"


def document_id(message: Message, place: Place) -> str:
    # That of the first node is as it was before there were several.
    first = place.node == FIRST_NODE
    server = f"{place.cluster_id}" if first else f"{place.cluster_id}/{place.node}"
    key = f"{server} {message.source} {message.origin} {message.start} {message.text}"
    return hashlib.sha256(key.encode()).hexdigest()[:40]


def parse_response(messages: Sequence[Message], answer: bytes) -> BulkResult:
    """Return the outcome from a response with status 200; raise ValueError for an unexpected body."""
    try:
        response = msgspec.json.decode(answer)
        items = [next(iter(item.values())) for item in response["items"]]
        statuses = [int(item["status"]) for item in items]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError, StopIteration):
        raise ValueError("the response is not that of a _bulk request") from None
    if len(items) != len(messages):
        raise ValueError(f"the response has {len(items)} items for {len(messages)} messages")
    retry: list[Message] = []
    refused: list[Message] = []
    reason = ""
    for message, item, status in zip(messages, items, statuses, strict=True):
        if status in _INDEXED:
            continue
        kind = _error_type(item)
        reason = reason or f"{kind or 'an error'} (status {status})"
        (refused if status == 400 and kind not in _RETRYABLE else retry).append(message)
    return BulkResult(tuple(retry), tuple(refused), reason)


def _error_type(item: Any) -> str:
    """Return the type of an error; its reason is left out, as it may quote the message."""
    error = item.get("error")
    kind = error.get("type") if isinstance(error, dict) else None
    return kind if isinstance(kind, str) and re.fullmatch(r"[a-z_]{1,80}", kind) else ""


def expired_indices(names: Collection[str], prefix: str, days: int, today: date) -> list[str]:
    """Return the indices of this prefix that are at least ``days`` old; never the newest one."""
    made = _days_of(names, prefix)
    return [
        name for name, day in made.items() if day <= today - timedelta(days=days) and day < max(made.values())
    ]


def _days_of(names: Collection[str], prefix: str) -> dict[str, date]:
    found = {}
    for name in sorted(names):
        day = _DAY.fullmatch(name.removeprefix(f"{prefix}-")) if name.startswith(f"{prefix}-") else None
        if day is None:
            continue
        with contextlib.suppress(ValueError):
            found[name] = date(*map(int, day.groups()))
    return found
