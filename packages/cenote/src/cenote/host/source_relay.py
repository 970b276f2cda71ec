"""A way to the source of a migration that lets through only so many bytes of its answers.

libpq keeps all of an answer, and of what comes before it, in memory.  So a source could take all of that of
the host, whatever it was asked.  Rows of tables do not come this way.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from cenote.host.outbound import reason_of

LOOPBACK = "127.0.0.1"
ANSWER_BYTES = 32 * 1024 * 1024  # names, sizes and owners of some 100,000 tables
DEFINITIONS_BYTES = 256 * 1024 * 1024  # what pg_dump asks for has all columns
_CHUNK = 64 * 1024
_SILENT_SECONDS = 60  # that a source may acknowledge nothing for


class Allowance:
    """How many bytes of answers may come, in one connection or in several."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def takes(self, count: int) -> bool:
        """Return whether so many bytes more may come."""
        self._left -= count
        return self._left >= 0

    def __str__(self) -> str:
        return f"{self._most // (1024 * 1024)} MiB"


class SourceRelay:
    """``problem`` says in words why a connection has ended, "" if the source itself or the client did it."""

    def __init__(self, host: str, port: int, allowance: Allowance, connect_seconds: float) -> None:
        self._host, self._port, self._seconds = host, port, connect_seconds
        self._allowance = allowance
        self.port = 0
        self.problem = ""
        self._connections: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[SourceRelay]:
        """Take connections of this host's own programs, and end them afterwards."""
        server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await self._relay(reader, writer)
        finally:
            if self.problem:
                writer.transport.abort()
            else:
                writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                answers, asking = await asyncio.open_connection(self._host, self._port)
        except (OSError, UnicodeError) as error:  # TimeoutError among them
            self.problem = f"the source cannot be reached: {reason_of(error)}"
            return
        connection = asking.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENT_SECONDS // 2)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_SECONDS * 1000)
        both = [
            asyncio.create_task(self._copy(reader, asking), name="questions to a source"),
            asyncio.create_task(self._copy(answers, writer, counted=True), name="answers of a source"),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            asking.close()  # once all is sent

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if counted and not self._allowance.takes(len(data)):
                    self.problem = (
                        f"the source answers with more than {self._allowance} where names are asked for"
                    )
                    return
                writer.write(data)
                await writer.drain()
