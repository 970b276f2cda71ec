"""A TLS port of one cluster, open to its trusted sources, with the current certificate on disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterable

from cenote.errors import Unavailable
from cenote.http import tls_context

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0  # while another program uses the port, or no file descriptor is free
HANDSHAKE_SECONDS = 10.0
MAX_CONNECTIONS = 64  # at the same time


class TLSListener:
    """Listens on one port; ``protocol`` creates the protocol of a connection after its TLS handshake.

    ``admits`` decides by the client's address; ``certificate`` returns key and certificate in PEM.
    """

    def __init__(
        self,
        addresses: Iterable[str],
        port: int,
        admits: Callable[[str], bool],
        certificate: Callable[[], bytes | None],
        protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        self.port = port
        self._addresses, self._admits, self._certificate = tuple(addresses), admits, certificate
        self._protocol = protocol
        self._handshakes: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.BaseTransport] = set()
        self._context: tuple[bytes, ssl.SSLContext] | None = None

    async def serve(self) -> None:
        """Listen until cancelled; open connections continue."""
        try:
            async with asyncio.TaskGroup() as group, contextlib.AsyncExitStack() as stack:
                for address in self._addresses:
                    listener = await _bind(address, self.port)
                    stack.callback(listener.close)
                    group.create_task(self._accept(listener))
                await asyncio.Event().wait()
        finally:
            for task in self._handshakes:
                task.cancel()

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, address = await asyncio.get_running_loop().sock_accept(listener)
            except OSError:  # such as no free file descriptor
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if not self._has_room() or not self._admits(address[0]):
                connection.close()
                continue
            task = asyncio.create_task(self._shake_hands(connection))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    def _has_room(self) -> bool:
        self._connections = {one for one in self._connections if not one.is_closing()}
        return len(self._connections) + len(self._handshakes) < MAX_CONNECTIONS

    async def _shake_hands(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.connect_accepted_socket(
                self._protocol, connection, ssl=self._tls(), ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
            self._connections.add(transport)
        except (OSError, Unavailable) as error:  # it disconnected, or does not speak TLS
            log.debug("port %d: %s", self.port, error)
            connection.close()
        except asyncio.CancelledError:
            connection.close()
            raise

    def _tls(self) -> ssl.SSLContext:
        """Return a context with the current certificate; Unavailable when there is none yet."""
        content = self._certificate()
        if not content:
            raise Unavailable("there is no certificate yet")
        if self._context is None or self._context[0] != content:
            self._context = content, tls_context.server_context(content)
        return self._context[1]


async def _bind(address: str, port: int) -> socket.socket:
    """Return a listening socket; retry while another program uses the port."""
    warned = False
    while True:
        listener: socket.socket | None = None
        try:
            listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if listener.family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address, port))
            listener.listen()
            listener.setblocking(False)
        except OSError as error:
            if listener is not None:
                listener.close()
            if not warned:
                log.warning("cannot listen on %s port %d: %s; trying again", address, port, error.strerror)
                warned = True
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return listener
