"""Accepts the connections of the API: caps first, then the TLS handshake, with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable

from cenote.http.admission import Admission
from cenote.http.memory import Trimming
from cenote.http.timeouts import TimeoutProtocol

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0  # for the handshake and the head of the first request together
CLOSE_SECONDS = 5.0  # for the client's part in closing
RETRY_SECONDS = 0.2  # while no file descriptor is free
TELL_SECONDS = 60.0  # between two lines of the log


class Listener:
    """Accepts connections on a listening socket until it is closed; ``protocol`` creates each one's."""

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext,
        admission: Admission,
        protocol: Callable[[], TimeoutProtocol],
    ) -> None:
        listening.setblocking(False)
        self._listening, self._context, self._protocol = listening, context, protocol
        self._admission, self._trimming = admission, Trimming()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._told_at = -TELL_SECONDS
        self._task = asyncio.create_task(self._accept(), name="accepting")

    def close(self) -> None:
        self._task.cancel()
        self._trimming.close()
        for task in self._handshakes:
            task.cancel()

    async def wait_closed(self) -> None:
        await asyncio.wait([self._task, *self._handshakes])

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._listening)
            except OSError as error:  # such as no free file descriptor
                self._tell("connections wait: %s", error.strerror or str(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            source = self._admission.enter(address[0] if address else "")
            if source is None:
                connection.close()
                self._tell("connections are refused, as there are too many; one was of %s", address[0])
                continue
            task = asyncio.create_task(self._shake_hands(connection, source))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, connection: socket.socket, source: str) -> None:
        loop, protocol = asyncio.get_running_loop(), self._protocol()
        protocol.begin_by = loop.time() + HANDSHAKE_SECONDS
        protocol.when_lost = leave = self._leaving(source)
        with contextlib.ExitStack() as failed:
            failed.callback(leave)
            failed.callback(connection.close)
            self._trimming.follow(self._admission.total)
            try:
                await loop.connect_accepted_socket(
                    lambda: protocol,
                    connection,
                    ssl=self._context,
                    ssl_handshake_timeout=HANDSHAKE_SECONDS,
                    ssl_shutdown_timeout=CLOSE_SECONDS,
                )
            except OSError as error:  # it disconnected, was silent, or does not speak TLS
                log.debug("a connection ends with its handshake: %s", error)
                return
            failed.pop_all()

    def _leaving(self, source: str) -> Callable[[], None]:
        """Return what is to be called when a connection has ended; only the first call counts."""
        counted = [source]

        def leave() -> None:
            if counted:
                self._admission.leave(counted.pop())
                self._trimming.follow(self._admission.total)

        return leave

    def _tell(self, what: str, *values: str) -> None:
        """Log at most one line a minute, however many connections there are."""
        now = asyncio.get_running_loop().time()
        if now >= self._told_at + TELL_SECONDS:
            self._told_at = now
            log.warning(what, *values)
