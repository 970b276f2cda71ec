"""A client of server-sent events, as the standard says one reads them."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx


@dataclass(frozen=True)
class Event:
    kind: str
    data: Any
    id: str = ""


Events: TypeAlias = Iterator[Event]
PATIENCE = 60  # seconds that a test follows one stream


@contextlib.contextmanager
def following(http: httpx.Client, path: str, *, token: str = "", last: str = "") -> Iterator[Events]:
    """Follow a stream; it is left at the end of the block."""
    headers = {"last-event-id": last} if last else {}
    if token:
        headers["authorization"] = f"Bearer {token}"
    with http.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Events:
    fields: dict[str, str] = {}
    deadline = time.monotonic() + PATIENCE
    with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
        for line in lines:
            assert time.monotonic() < deadline, f"what was looked for has not come in {PATIENCE} seconds"
            if not line:
                if "data" in fields:
                    yield Event(
                        fields.get("event", "message"), json.loads(fields["data"]), fields.get("id", "")
                    )
                fields = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
