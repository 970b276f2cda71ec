"""Two hosts of a fleet, the second of which reaches etcd through a proxy that holds its watches back."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from tests.support.etcd import Links
from tests.support.fleet import FleetHost, fleet
from tests.support.outside import Outside
from tests.support.threads import in_a_thread


class OutsideProxy(Links):
    """Between a host and an etcd outside; it ends the TLS of both, and so sees which request is a watch."""

    def __init__(self, outside: Outside) -> None:
        super().__init__()
        self._outside = outside
        self._to_etcd = ssl.create_default_context(cafile=outside.certificate)
        self._to_etcd.load_cert_chain(outside.certificate, outside.key)

    async def open(self) -> str:
        """Listen; return the URL."""
        ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ours.load_cert_chain(self._outside.certificate, self._outside.key)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=ours)
        return f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        there = urlsplit(self._outside.url)
        return await asyncio.open_connection(there.hostname, there.port, ssl=self._to_etcd)


@dataclass(frozen=True)
class Behind:
    current: FleetHost
    behind: FleetHost
    between: OutsideProxy

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold back what the second host would hear of changes."""
        self.between.holds_watches = True
        try:
            yield
        finally:
            self.between.holds_watches = False


@contextlib.contextmanager
def two_hosts() -> Iterator[Behind]:
    with fleet(1) as hosts:
        outside = hosts.outside
        assert outside is not None
        with in_a_thread(_opened(outside)) as (between, url):
            hosts.outside = replace(outside, url=url)
            yield Behind(hosts.hosts[0], hosts.add(), between)
            hosts.close()


@contextlib.asynccontextmanager
async def _opened(outside: Outside) -> AsyncIterator[tuple[OutsideProxy, str]]:
    between = OutsideProxy(outside)
    try:
        yield between, await between.open()
    finally:
        await between.shut()
