"""Server-sent events: an answer that goes on (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from cenote.http.routing import Receive, Response, Scope, Send

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # or nginx in front would keep events until it has many
]
HEARTBEAT = b": \n\n"  # a comment, so that whoever stands in between does not take the connection for dead


def event(kind: str, data: Any, id: str = "") -> bytes:
    """Return one event; JSON has no line breaks."""
    named = f"id: {id}\n" if id else ""
    return f"{named}event: {kind}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


class EventStream(Response):
    """Sends what an iterator yields, which is closed when it is done and when the client has gone.

    After that, or when there was nothing to send, ``done`` is called.
    """

    def __init__(self, chunks: Callable[[], AsyncIterator[bytes]], done: Callable[[], None]) -> None:
        super().__init__()
        self._chunks, self._done = chunks, done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        finally:
            self._done()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        if scope["method"] != "HEAD":
            sending = asyncio.create_task(self._send(send))
            leaving = asyncio.create_task(_gone(receive))
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, leaving):
                    task.cancel()
                ends = await asyncio.gather(sending, leaving, return_exceptions=True)
            if isinstance(ends[0], Exception):
                raise ends[0]
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send) -> None:
        chunks = self._chunks()
        try:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            # A generator that is left at a yield would keep what it holds until somebody collects it.
            closing = getattr(chunks, "aclose", None)
            if closing is not None:
                await closing()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
