"""Delivery of logs to a syslog server."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import struct
import termios
from collections.abc import Sequence
from datetime import date
from typing import Any

from cenote.host.delivery import tls_context
from cenote.host.outbound import NO_TLS, OutboundPolicy, Unreachable, reason_of
from cenote.logs import syslog
from cenote.logs.messages import Message
from cenote.logs.place import Place
from cenote.logs.sinks import SyslogConfig

HELD_SECONDS = 5.0
STALLED_SECONDS = 60.0  # without a byte going forward
_POLL_SECONDS = 0.02


class SyslogDestination:
    """A syslog server over TCP, with or without TLS.

    The protocol has no acknowledgements.  Data that the server's kernel has acknowledged is still lost if the
    server ends before reading it; the connection breaks then.  So messages count as delivered when the
    connection has stayed up for some time after the TCP acknowledgement, and are sent again otherwise.
    """

    confirmation_delay = HELD_SECONDS

    def __init__(self, policy: OutboundPolicy, config: SyslogConfig, place: Place) -> None:
        self._policy, self._config, self._place = policy, config, place
        self._connection: _Connection | None = None

    async def deliver(self, messages: Sequence[Message]) -> tuple[int, str]:
        config = self._config
        frames = [
            syslog.frame(
                message, format=config.format, place=self._place, template=config.logline, data=config.sd
            )
            for message in messages
        ]
        if self._connection is None or self._connection.broken:
            await self.close()
            self._connection = await _Connection.open(self._policy, self._config)
        await self._connection.send(b"".join(frames))
        return 0, ""

    @property
    def broken(self) -> str:
        return "" if self._connection is None else self._connection.broken

    async def drop_expired(self, today: date) -> None:
        """Do nothing: retention is configured on the syslog server."""

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        self._reader, self._writer, self._peer = reader, writer, peer
        self._socket: Any = writer.get_extra_info("socket")
        self._end = asyncio.create_task(self._watch(), name="watching a syslog server")

    @classmethod
    async def open(cls, policy: OutboundPolicy, config: SyslogConfig) -> _Connection:
        peer = f"{config.server} port {config.port}"
        connection = await policy.connect(config.server, config.port)
        try:
            async with asyncio.timeout(policy.timing.connect_timeout):
                reader, writer = await asyncio.open_connection(
                    sock=connection,
                    ssl=tls_context(config) if config.tls else None,
                    server_hostname=config.server if config.tls else None,
                )
        except (OSError, TimeoutError) as error:
            connection.close()
            why = NO_TLS if isinstance(error, TimeoutError) else reason_of(error)
            raise Unreachable(f"cannot connect to {peer}: {why}") from None
        except BaseException:
            connection.close()
            raise
        return cls(reader, writer, peer)

    @property
    def broken(self) -> str:
        return self._end.result() if self._end.done() else ""

    async def send(self, data: bytes) -> None:
        """Send, and return when the peer's kernel has acknowledged all of it."""
        self._writer.write(data)
        loop = asyncio.get_running_loop()
        left, stalled, empty = self._unacknowledged(), loop.time() + STALLED_SECONDS, 0
        # Data leaves the transport's buffer a moment before it enters the kernel's: check twice.
        while empty < 2:
            if self.broken:
                raise Unreachable(self.broken)
            if loop.time() > stalled:
                raise Unreachable(f"{self._peer} has stopped accepting data")
            await asyncio.sleep(_POLL_SECONDS if left else 0)
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
        """Discard what the peer sends until the connection ends, and return why it ended."""
        try:
            while await self._reader.read(4096):
                pass
        except OSError as error:
            return f"the connection to {self._peer} broke: {reason_of(error)}"
        return f"{self._peer} closed the connection"
