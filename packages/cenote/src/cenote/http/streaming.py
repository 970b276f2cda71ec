"""Responses without a known end: the chunks of an iterator, until it ends or the client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from cenote.http.routing import Receive, Response, Scope, Send


class StreamedResponse(Response):
    """Streams the chunks of an iterator, which is closed at its end or when the client disconnects.

    ``done`` is called after that in any case, also if nothing was sent.
    """

    def __init__(
        self,
        chunks: Callable[[], AsyncIterator[bytes]],
        headers: list[tuple[bytes, bytes]],
        done: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.raw_headers, self._chunks, self._done = headers, chunks, done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        finally:
            self._done()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
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
            # An abandoned generator would hold its resources until it is garbage-collected.
            closing = getattr(chunks, "aclose", None)
            if closing is not None:
                await closing()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
