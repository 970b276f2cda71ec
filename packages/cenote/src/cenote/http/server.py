"""The HTTP server: its listening socket, uvicorn, and its shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator

import uvicorn

from cenote.errors import Misconfigured
from cenote.http.admission import MOST_OF_AN_ADDRESS, Admission, most_by_descriptors
from cenote.http.listener import Listener
from cenote.http.routing import ASGIApp
from cenote.http.timeouts import TimeoutProtocol

FLUSH_SECONDS = 0.1  # for written responses to leave the process
DRAIN_SECONDS = 5  # for requests in progress at shutdown
BACKLOG = 2048  # connections that wait to be accepted, as while the API is started again; as uvicorn's


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; Misconfigured if the address is not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)  # with SO_REUSEADDR, only this claims the port
    except OSError as error:
        listener.close()
        raise Misconfigured(
            f"cannot listen on {host} port {port}: {error.strerror}; "
            "choose another with --port (0 takes any free one)"
        ) from None
    return listener


def url(host: str, listener: socket.socket) -> str:
    """Return the URL of the API for clients that know the host by this name."""
    host = f"[{host}]" if ":" in host else host
    return f"https://{host}:{listener.getsockname()[1]}"


class Server(uvicorn.Server):
    """uvicorn without its signal handlers, which would end the process before our clean-up."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_shutdown: Callable[[], None] = lambda: None,
        admission: Admission | None = None,
    ) -> None:
        super().__init__(config)
        self._on_shutdown = on_shutdown
        self.admission = admission or Admission(most_by_descriptors(), MOST_OF_AN_ADDRESS)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve TLS by listeners of our own, which cap the connections."""
        if not sockets or self.config.ssl is None:
            await super().startup(sockets)
            return
        await super().startup([])  # the application alone
        for one in sockets:
            listener = Listener(one, self.config.ssl, self.admission, self._protocol)
            self.servers.append(listener)  # type: ignore[arg-type]

    def _protocol(self) -> TimeoutProtocol:
        return TimeoutProtocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the requests in progress, then close all connections.

        Idle keep-alive clients do not answer a TLS close_notify, so the connections are aborted.
        """
        self._on_shutdown()
        closing = asyncio.create_task(super().shutdown(sockets))
        await asyncio.sleep(FLUSH_SECONDS)
        while self.server_state.tasks and not closing.done():
            await asyncio.sleep(0.02)
        await asyncio.sleep(FLUSH_SECONDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await closing


def protocol_config(app: ASGIApp, *, limit_concurrency: int | None = None) -> uvicorn.Config:
    """Return the configuration of connections that listeners of our own accept, with ``TimeoutProtocol``."""
    config = uvicorn.Config(
        app,
        interface="asgi3",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limit_concurrency,
    )
    config.load()
    return config


def server(
    app: ASGIApp,
    context: ssl.SSLContext,
    on_shutdown: Callable[[], None] = lambda: None,
    admission: Admission | None = None,
) -> Server:
    """Return the server of the API; new connections use the current certificate of ``context``.

    ``on_shutdown`` is called before the server waits for requests in progress: it must end the event streams.
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
            # Or local processes could forge the client's address in a header.
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            ssl_context_factory=lambda _config, _default: context,
            ssl_certfile="in memory",  # makes it serve TLS; the context has the certificate
        ),
        on_shutdown,
        admission,
    )
