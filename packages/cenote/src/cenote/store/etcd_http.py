"""HTTP to the members of an etcd: by a unix socket to the one of this host, by TLS to the others."""

from __future__ import annotations

import contextlib
import os
import socket as sockets
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import httpcore
import httpx
import msgspec

from cenote.errors import Misconfigured
from cenote.store.etcd_options import STORE_HOSTS

Address: TypeAlias = Path | str  # a unix socket, or a URL

SOCKET_PATH_LIMIT = 107  # bytes; sockaddr_un's, without its closing zero
TIMEOUT = httpx.Timeout(10, connect=2)
BROKEN = (httpx.HTTPError, OSError)  # TLS alerts that come with an answer pass httpx as ssl.SSLError
# A peer that vanished without a word is noticed after this, also on a watch that is silent by nature.
KEEPALIVE = [
    (sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, 1),
    (sockets.IPPROTO_TCP, sockets.TCP_KEEPIDLE, 5),
    (sockets.IPPROTO_TCP, sockets.TCP_KEEPINTVL, 2),
    (sockets.IPPROTO_TCP, sockets.TCP_KEEPCNT, 3),
]


class Tls(msgspec.Struct, frozen=True):
    """The files for TLS; with ``fleet``, an endpoint has to be a host with the role store, at any address."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    fleet: bool = False


class EtcdHttp:
    """Connections to any number of addresses, kept open."""

    def __init__(self, socket: Path | None, tls: Tls) -> None:
        self._folder = -1
        self._tls = tls
        self.clients: dict[bool, httpx.AsyncClient] = {}  # by whether it is for the socket
        if socket is not None:
            uds = self._reachable(socket)
            # No TLS there; the default would read the CA certificates of the system, for 0.1 s and 2 MB.
            no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._add(httpx.AsyncHTTPTransport(uds=uds, verify=no_tls, limits=httpx.Limits()), True)
        if socket is None or tls.certificate is not None:
            # Read at once: the API cannot any more when it has changed to its account.
            self._add(_TlsTransport(_context(tls)), False)

    async def post(
        self, address: Address, path: str, content: bytes, headers: Mapping[str, str]
    ) -> httpx.Response:
        client, url, extensions = self._at(address)
        return await client.post(url + path, content=content, headers=headers, extensions=extensions)

    @contextlib.asynccontextmanager
    async def stream(
        self, address: Address, path: str, content: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[httpx.Response]:
        """Post, for an answer without an end."""
        client, url, extensions = self._at(address)
        timeout = httpx.Timeout(TIMEOUT.connect, read=None)
        async with client.stream(
            "POST", url + path, content=content, headers=headers, extensions=extensions, timeout=timeout
        ) as response:
            yield response

    async def status(self, address: Address, path: str, seconds: float) -> int:
        """Get a path; return the status, 0 when there was no answer."""
        client, url, extensions = self._at(address)
        try:
            return (await client.get(url + path, extensions=extensions, timeout=seconds)).status_code
        except BROKEN:
            return 0

    async def close(self) -> None:
        """Close every connection."""
        for client in self.clients.values():
            await client.aclose()
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def _at(self, address: Address) -> tuple[httpx.AsyncClient, str, dict[str, str]]:
        if isinstance(address, Path):
            return self.clients[True], "http://etcd", {}
        return self.clients[False], address, {"sni_hostname": STORE_HOSTS} if self._tls.fleet else {}

    def _add(self, transport: httpx.AsyncHTTPTransport, is_local: bool) -> None:
        client = httpx.AsyncClient(transport=transport, timeout=TIMEOUT, trust_env=False)
        # A member that was cut off from the others ends its watches instead of falling silent.
        client.headers["grpc-metadata-hasleader"] = "true"
        self.clients[is_local] = client

    def _reachable(self, socket: Path) -> str:
        if len(os.fsencode(socket)) <= SOCKET_PATH_LIMIT:
            return str(socket)
        self._folder = os.open(socket.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._folder}/{socket.name}"


class _TlsTransport(httpx.AsyncHTTPTransport):
    """Connections by TLS, which are closed when they are given up while they are being made."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(verify=context)
        self._pool = httpcore.AsyncConnectionPool(
            context,
            max_connections=None,
            max_keepalive_connections=None,
            keepalive_expiry=5.0,
            network_backend=_Backend(),
            socket_options=KEEPALIVE,
        )


class _Backend(httpcore.AnyIOBackend):
    async def connect_tcp(self, *given: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await super().connect_tcp(*given, **options))


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self.read, self.write, self.aclose = stream.read, stream.write, stream.aclose  # type: ignore[method-assign]
        self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

    async def start_tls(self, *given: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(*given, **options)
        except BaseException:
            await self._stream.aclose()
            raise


def _context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"the TLS files for etcd cannot be used: {error}") from error
    if tls.fleet:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
