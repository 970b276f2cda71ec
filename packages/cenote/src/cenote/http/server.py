"""The listening side of the service: its socket, and the HTTP server on it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from cenote.errors import Misconfigured
from cenote.http.routing import ASGIApp
from cenote.http.timeouts import TimeoutProtocol

FAREWELL_SECONDS = 0.1  # what an answer may take to leave this process
DRAIN_SECONDS = 5  # how long requests under way may take when the service ends


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; Misconfigured when that address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # until then somebody else may still take the port
    except OSError as error:
        listener.close()
        raise Misconfigured(
            f"cannot listen on {host} port {port}: {error.strerror}; "
            "choose another with --port (0 takes any free one)"
        ) from None
    return listener


def url(host: str, listener: socket.socket) -> str:
    """Return the address of the API, as clients use it that reach this host by that name."""
    host = f"[{host}]" if ":" in host else host
    return f"https://{host}:{listener.getsockname()[1]}"


class Server(uvicorn.Server):
    """uvicorn without its own signal handlers, which would end the process before our clean-up."""

    def __init__(self, config: uvicorn.Config, leaving: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._leaving = leaving

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is under way, then leave.

        A client that keeps its connection for later does not answer a TLS farewell, so none is waited for.
        """
        self._leaving()
        leaving = asyncio.create_task(super().shutdown(sockets))
        await asyncio.sleep(FAREWELL_SECONDS)
        while self.server_state.tasks and not leaving.done():
            await asyncio.sleep(0.02)
        await asyncio.sleep(FAREWELL_SECONDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await leaving


def server(
    app: ASGIApp,
    context: ssl.SSLContext,
    certificate: Path,
    key: Path | None,
    leaving: Callable[[], None] = lambda: None,
) -> Server:
    """Return the server of the API; certificates renewed in ``context`` are shown to new connections.

    ``leaving`` is called when it ends, before it waits for answers that are under way: some have no end.
    """
    return Server(
        uvicorn.Config(
            app,
            http=TimeoutProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            # Or whoever is on this machine could say in a header where a request comes from.
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            ssl_context_factory=lambda _config, _default: context,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        ),
        leaving,
    )


class Ending:
    """What SIGINT and SIGTERM do: they end the server, or give up a start that has not come that far.

    A second one changes nothing, since what is being put in order then has to be finished.
    """

    def __init__(self, starting: asyncio.Task[object]) -> None:
        self._starting: asyncio.Task[object] | None = starting
        self._server: Server | None = None

    def serves(self, server: Server) -> None:
        self._server = server

    def __call__(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
        elif self._starting is not None:
            self._starting.cancel()
            self._starting = None


@contextlib.contextmanager
def signals() -> Iterator[Ending]:
    """Take both signals for the task that calls this."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    ending = Ending(task)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending)
    try:
        yield ending
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
