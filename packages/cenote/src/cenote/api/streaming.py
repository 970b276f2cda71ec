"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from cenote.http.streaming import StreamedResponse

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # or a proxying nginx would buffer events
]
HEARTBEAT = b": \n\n"  # a comment, which keeps proxies from closing an idle connection


def event(kind: str, data: Any, id: str = "") -> bytes:
    """Return one event; its data is one line, as the JSON has no line breaks."""
    named = f"id: {id}\n" if id else ""
    return f"{named}event: {kind}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


class EventStream(StreamedResponse):
    """Streams events; ``done`` is called at the end."""

    def __init__(self, events: Callable[[], AsyncIterator[bytes]], done: Callable[[], None]) -> None:
        super().__init__(events, _HEADERS, done)
