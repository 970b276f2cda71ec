"""A syslog server that takes logs."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import struct
import termios
from collections.abc import Sequence
from datetime import date
from typing import Any

from cenote.host.delivery import context
from cenote.host.outbound import CONNECT_SECONDS, NO_TLS, OutboundPolicy, Unreachable, reason_of
from cenote.logs import syslog
from cenote.logs.messages import Message
from cenote.logs.sinks import SyslogConfig

HELD_SECONDS = 5.0
STALLED_SECONDS = 60.0  # without a byte going forward
_LOOK = 0.02  # seconds


class SyslogDestination:
    """A syslog server over TCP, with or without TLS.

    The protocol has no acknowledgement.  What the peer's kernel has acknowledged may still be lost when the
    peer ends before it has read it; the connection breaks then.  So messages count as delivered when the
    connection has stood for some time after that, and else they are sent again.
    """

    held = HELD_SECONDS

    def __init__(self, guard: OutboundPolicy, config: SyslogConfig, host: str) -> None:
        self._guard, self._config, self._host = guard, config, host
        self._connection: _Connection | None = None

    async def deliver(self, messages: Sequence[Message]) -> tuple[int, str]:
        config = self._config
        frames = [
            syslog.frame(
                message, format=config.format, host=self._host, template=config.logline, data=config.sd
            )
            for message in messages
        ]
        if self._connection is None or self._connection.broken:
            await self.close()
            self._connection = await _Connection.open(self._guard, self._config)
        await self._connection.send(b"".join(frames))
        return 0, ""

    @property
    def broken(self) -> str:
        return "" if self._connection is None else self._connection.broken

    async def tidy(self, today: date) -> None:
        """Do nothing: how long a syslog server keeps what it gets is its own business."""

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, who: str) -> None:
        self._reader, self._writer, self._who = reader, writer, who
        self._socket: Any = writer.get_extra_info("socket")
        self._end = asyncio.create_task(self._watch(), name="watching a syslog server")

    @classmethod
    async def open(cls, guard: OutboundPolicy, config: SyslogConfig) -> _Connection:
        who = f"{config.server} port {config.port}"
        connection = await guard.connect(config.server, config.port)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(
                    sock=connection,
                    ssl=context(config) if config.tls else None,
                    server_hostname=config.server if config.tls else None,
                )
        except (OSError, TimeoutError) as error:
            connection.close()
            why = NO_TLS if isinstance(error, TimeoutError) else reason_of(error)
            raise Unreachable(f"cannot speak to {who}: {why}") from None
        except BaseException:
            connection.close()
            raise
        return cls(reader, writer, who)

    @property
    def broken(self) -> str:
        return self._end.result() if self._end.done() else ""

    async def send(self, data: bytes) -> None:
        """Send, and return when the peer's kernel has all of it."""
        self._writer.write(data)
        loop = asyncio.get_running_loop()
        left, stalled, empty = self._unacknowledged(), loop.time() + STALLED_SECONDS, 0
        # What leaves the buffer of the transport enters that of the kernel a moment later: look twice.
        while empty < 2:
            if self.broken:
                raise Unreachable(self.broken)
            if loop.time() > stalled:
                raise Unreachable(f"{self._who} takes nothing any more")
            await asyncio.sleep(_LOOK if left else 0)
            before, left = left, self._unacknowledged()
            empty = 0 if left else empty + 1
            if left < before:
                stalled = loop.time() + STALLED_SECONDS

    async def close(self) -> None:
        self._end.cancel()
        self._writer.transport.abort()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._writer.wait_closed()

    def _unacknowledged(self) -> int:
        """Return how many bytes the peer's kernel has not acknowledged (SIOCOUTQ of tcp(7))."""
        waiting = self._writer.transport.get_write_buffer_size()
        try:
            queued = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        except (OSError, ValueError):  # closed meanwhile
            return waiting
        return waiting + int(struct.unpack("i", queued)[0])

    async def _watch(self) -> str:
        """Wait until the connection ends, and return why; what the peer says is of no interest."""
        try:
            while await self._reader.read(4096):
                pass
        except OSError as error:
            return f"the connection to {self._who} broke: {reason_of(error)}"
        return f"{self._who} has closed the connection"
