"""A relay to a server that can be made slow, or cut off, while it is used."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator

_CHUNK = 1 << 14


class DelayingRelay:
    """Passes on what comes to ``port``; ``delay`` is how many seconds each chunk of 16 KiB waits."""

    def __init__(self, target: int) -> None:
        self._target, self.delay, self.carried = target, 0.0, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._ended = False
        threading.Thread(target=self._accept, daemon=True, name="relay").start()

    def cut(self) -> None:
        """End all connections."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._ended = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True, name="relayed").start()

    def _carry(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            client,
            socket.create_connection(("127.0.0.1", self._target)) as server,
        ):
            self._open |= {client, server}
            try:
                self._exchange(client, server)
            finally:
                self._open -= {client, server}

    def _exchange(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while not self._ended:
                for key, _ in ready.select(timeout=1):
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    data = source.recv(_CHUNK)
                    if not data:
                        return
                    time.sleep(self.delay)
                    key.data.sendall(data)
                    self.carried += len(data)


@contextlib.contextmanager
def delaying_relay(target: int) -> Iterator[DelayingRelay]:
    relay = DelayingRelay(target)
    try:
        yield relay
    finally:
        relay.close()
