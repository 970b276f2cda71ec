"""HTTP timeouts and limits against clients that hold connections open without using them (slowloris).

A client that sends its request byte by byte occupies a connection, and a few thousand of them occupy all.  So
the head and the body of a request each have a time limit, and the head a size limit; uvicorn limits only the
idle time between requests.  A client that stops reading its response, such as a stream, is disconnected, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class TimeoutProtocol(HttpToolsProtocol):
    """uvicorn's protocol with timeouts for requests and for unread responses."""

    head_seconds: ClassVar[float] = 10.0
    body_seconds: ClassVar[float] = 30.0
    unread_seconds: ClassVar[float] = 30.0  # without progress while the write buffer is full
    head_bytes: ClassVar[int] = 64 * 1024
    piece_bytes: ClassVar[int] = 4096
    most_waiting: ClassVar[int] = 8  # requests of one connection (pipelining)

    def __init__(self, *arguments: Any, **parameters: Any) -> None:
        super().__init__(*arguments, **parameters)
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_length = 0
        self._timeout: float | None = None  # for the rest of this part of the request
        self._timeout_changed = False
        self._rest = bytearray()  # received, and not parsed yet
        self.begin_by: float | None = None  # when the head of the first request has to be there
        self.when_lost: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        left = self.head_seconds if self.begin_by is None else self.begin_by - self.loop.time()
        self._set_timer(max(0.0, min(self.head_seconds, left)))

    def connection_lost(self, exc: Exception | None) -> None:
        self.when_lost()
        self._set_timer(None)
        self._stop_write_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_write_timer()
        self._start_write_timer()

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            self._rest += data
        else:
            self._feed(data)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._rest and not self.transport.is_closing():
            rest, self._rest = bytes(self._rest), bytearray()
            self._feed(rest)

    def _feed(self, data: bytes) -> None:
        """Parse requests while few wait for an answer; of many at once, the others are parsed later."""
        for start in range(0, len(data), self.piece_bytes):
            if len(self.pipeline) >= self.most_waiting:
                self._rest += data[start:]
                self.flow.pause_reading()
                return
            self._parse(data[start : start + self.piece_bytes])
            if self.transport.is_closing():
                return

    def _parse(self, data: bytes) -> None:
        super().data_received(data)
        # Once for all of the data: a request that came in one piece needs no timer.
        if self._timeout_changed:
            self._timeout_changed = False
            self._set_timer(self._timeout)
        if self._in_head:
            self._head_length += len(data)
            if self._head_length > self.head_bytes:
                self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_length = True, 0
        self._timeout_changed, self._timeout = True, self.head_seconds

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_head = False
        self._timeout_changed, self._timeout = True, self.body_seconds

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._timeout_changed, self._timeout = True, None

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._on_timeout)

    def _on_timeout(self) -> None:
        if self._in_head:
            self._refuse(b"408 Request Timeout")
        else:
            self.transport.abort()  # the application, waiting for the body, sees a disconnect

    def _start_write_timer(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(self.unread_seconds, self._check_progress, unsent)

    def _check_progress(self, unsent: int) -> None:
        if self.transport.get_write_buffer_size() < unsent:
            self._start_write_timer()
        else:
            self.transport.abort()  # the application, sending the response, sees a disconnect

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _refuse(self, status: bytes) -> None:
        self._set_timer(None)
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.transport.close()
