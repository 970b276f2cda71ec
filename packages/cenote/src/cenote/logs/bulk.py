"""Messages for OpenSearch and Elasticsearch: the body of a ``_bulk`` call, and what its answer says.

An index for each day, so that old ones can be dropped whole.  The id of a message follows from where it
stands and what it says: one that is sent again is there already, and not there twice.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from cenote.logs.messages import Message

_DAY = re.compile(r"(\d{4})\.(\d\d)\.(\d\d)")
_INDEXED = frozenset({200, 201, 409})  # 409: a document of this id is there
# Of these the peer says 400, too, though no message is to blame: too many shards, for one.
_RETRYABLE = frozenset({"validation_exception"})


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of a call: messages to send ``again``, those that will never be taken, and why."""

    again: tuple[Message, ...] = field(default=(), repr=False)
    refused: tuple[Message, ...] = field(default=(), repr=False)
    reason: str = ""


def body(messages: Iterable[Message], *, prefix: str, cluster_id: UUID, cluster_name: str) -> bytes:
    """Return the lines of a call: for each message what is to be done, and the document."""
    lines = []
    for message in messages:
        at = message.at or datetime.now(UTC)
        document: dict[str, Any] = {
            "@timestamp": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "message": message.text,
            "severity": message.severity,
            "source": message.source,
            "cluster": cluster_name,
            "cluster_id": cluster_id,
            "process": message.process,
            "user": message.user,
            "database": message.database,
            "application": message.application,
        }
        action = {"create": {"_index": f"{prefix}-{at:%Y.%m.%d}", "_id": document_id(message, cluster_id)}}
        lines.append(msgspec.json.encode(action))
        lines.append(
            msgspec.json.encode({name: told for name, told in document.items() if told not in (None, "")})
        )
    return b"\n".join(lines) + b"\n"


def document_id(message: Message, cluster_id: UUID) -> str:
    words = f"{cluster_id} {message.source} {message.origin} {message.start} {message.text}"
    return hashlib.sha256(words.encode()).hexdigest()[:40]


def parse_response(messages: Sequence[Message], answer: bytes) -> BulkResult:
    """Return what an answer with status 200 says of each message; ValueError for what is no such answer."""
    try:
        told = msgspec.json.decode(answer)
        items = [next(iter(item.values())) for item in told["items"]]
        statuses = [int(item["status"]) for item in items]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError, StopIteration):
        raise ValueError("the peer's answer is not that of a _bulk call") from None
    if len(items) != len(messages):
        raise ValueError(f"the peer answers for {len(items)} messages, and was sent {len(messages)}")
    again: list[Message] = []
    refused: list[Message] = []
    reason = ""
    for message, item, status in zip(messages, items, statuses, strict=True):
        if status in _INDEXED:
            continue
        kind = _error_type(item)
        reason = reason or f"{kind or 'an error'} (status {status})"
        (refused if status == 400 and kind not in _RETRYABLE else again).append(message)
    return BulkResult(tuple(again), tuple(refused), reason)


def _error_type(item: Any) -> str:
    """Return the name of an error; its text may hold the message that it is about."""
    error = item.get("error")
    kind = error.get("type") if isinstance(error, dict) else None
    return kind if isinstance(kind, str) and re.fullmatch(r"[a-z_]{1,80}", kind) else ""


def expired_indices(names: Collection[str], prefix: str, days: int, today: date) -> list[str]:
    """Return the indices of this prefix whose day is more than so many days ago."""
    found = []
    for name in sorted(names):
        day = _DAY.fullmatch(name.removeprefix(f"{prefix}-")) if name.startswith(f"{prefix}-") else None
        if day is None:
            continue
        try:
            made = date(*map(int, day.groups()))
        except ValueError:
            continue
        if made <= today - timedelta(days=days):
            found.append(name)
    return found
