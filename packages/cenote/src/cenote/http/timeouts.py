"""HTTP connections that cannot be held open for nothing.

A client that sends its request a byte at a time keeps a connection busy without work, and a few thousand of
them keep all that there are.  So a request has to arrive within a time, its head and then its body, and the
head has to be of a reasonable size; uvicorn limits only how long a connection may be idle between requests.
Nor is a client waited for that reads nothing of its answer, such as of a stream.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class TimeoutProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with an end to its patience."""

    head_seconds: ClassVar[float] = 10.0
    body_seconds: ClassVar[float] = 30.0
    unread_seconds: ClassVar[float] = 30.0  # in which a client has to read something, where much is left
    head_bytes: ClassVar[int] = 64 * 1024

    def __init__(self, *arguments: Any, **parameters: Any) -> None:
        super().__init__(*arguments, **parameters)
        self._timer: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_length = 0
        self._patience: float | None = None  # for the next piece of the request; None between requests
        self._has_moved = False  # on to another part of a request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(None)
        self._stop_looking()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_looking()
        self._look_later()

    def resume_writing(self) -> None:
        self._stop_looking()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # After all of it: of a request that came in one piece there is nothing left to wait for.
        if self._has_moved:
            self._has_moved = False
            self._wait(self._patience)
        if self._in_head:
            self._head_length += len(data)
            if self._head_length > self.head_bytes:
                self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_length = True, 0
        self._has_moved, self._patience = True, self.head_seconds

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_head = False
        self._has_moved, self._patience = True, self.body_seconds

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._has_moved, self._patience = True, None

    def _wait(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._time_is_up)

    def _time_is_up(self) -> None:
        if self._in_head:
            self._refuse(b"408 Request Timeout")
        else:
            self.transport.abort()  # whoever waits for the body is told that the client has gone

    def _look_later(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(self.unread_seconds, self._look, left)

    def _look(self, left: int) -> None:
        if self.transport.get_write_buffer_size() < left:
            self._look_later()
        else:
            self.transport.abort()  # whoever sends the answer is told that the client has gone

    def _stop_looking(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _refuse(self, status: bytes) -> None:
        self._wait(None)
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.transport.close()
