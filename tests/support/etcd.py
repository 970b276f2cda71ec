"""A real etcd for a test: the private one of the service, in a temporary folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from cenote.model.records import CertificateAuthority, Cluster, Database, Node, Pool
from cenote.store.client import EtcdClient
from cenote.store.host_store import HostStore
from cenote.store.process import PrivateEtcd
from cenote.store.store import Store
from tests.support.folders import server_folder
from tests.support.waiting import wait_until_async

SERVERS = "etcd-servers"


def etcd_program() -> Path:
    """Where etcd is; the tests need it, so its lack is an error and no skip."""
    found = shutil.which("etcd")
    if found is None:
        raise RuntimeError("etcd is not installed; on Debian: apt-get install etcd-server")
    return Path(found)


@contextlib.asynccontextmanager
async def private_etcd(servers: int | None = None) -> AsyncIterator[PrivateEtcd]:
    """Start an etcd, and stop and remove it in the end; its log is printed when the test fails.

    ``servers`` is the group of the servers' account, which reaches it by SERVERS in its folder.
    """
    with server_folder() as folder:
        place = folder / SERVERS, servers
        etcd = PrivateEtcd(folder / "etcd", etcd_program(), servers=place)
        try:
            await etcd.start()
            yield etcd
        except BaseException:
            with contextlib.suppress(OSError):
                sys.stderr.write((folder / "etcd" / "etcd.log").read_text())
            raise
        finally:
            await etcd.stop()


@contextlib.asynccontextmanager
async def opened_store(etcd: PrivateEtcd | Proxy, prefix: str = "/cenote/") -> AsyncIterator[Store]:
    """A store on this etcd, with a gateway of its own: as another service on the same records."""
    gateway = EtcdClient(socket=etcd.socket)
    store = Store(gateway, prefix)
    try:
        await store.open()
        yield store
    finally:
        await store.close()
        await gateway.close()


@contextlib.asynccontextmanager
async def opened_host(
    etcd: PrivateEtcd | Proxy, host: str = "here", prefix: str = "/cenote/", presence_seconds: int = 10
) -> AsyncIterator[HostStore]:
    """The store as the agent of a host sees it."""
    gateway = EtcdClient(socket=etcd.socket)
    store = HostStore(gateway, host, prefix=prefix, presence_seconds=presence_seconds)
    try:
        await store.open()
        yield store
    finally:
        await store.close()
        await gateway.close()


def kill(etcd: PrivateEtcd) -> int:
    """``kill -9``; return the pid that was killed."""
    pid = etcd.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


async def back_after(killed: int, etcd: PrivateEtcd) -> None:
    """Wait until another process has taken the place of the one that was killed."""
    await wait_until_async("etcd is back", 20, lambda: etcd.pid not in (None, killed))


def with_etcd(scenario: Callable[[PrivateEtcd], Awaitable[None]]) -> None:
    """Run an async test with an etcd of its own."""

    async def whole() -> None:
        async with private_etcd() as etcd:
            await scenario(etcd)

    asyncio.run(whole())


def bare_cluster(name: str, port: int, *, host: str = "here", pools: int = 0) -> Cluster:
    """A record for the store alone: no server could run by it."""
    return Cluster(
        id=uuid4(),
        name=name,
        version="16",
        size="db-s-1vcpu-1gb",
        region="nyc1",
        created_at=datetime.now(UTC),
        storage_mib=10240,
        project_id=uuid4(),
        private_network_id=uuid4(),
        authority=CertificateAuthority(certificate="", sealed_key=""),
        nodes=(Node(name="node-1", host=host, port=port, pool_port=port + 1),),
        users=(),
        databases=(Database(name="defaultdb"),),
        pools=tuple(Pool(name=f"pool-{number}", database="defaultdb", size=1) for number in range(pools)),
    )


class Links:
    """Connections through a proxy that can be shut, hold back watches, or lose answers.

    While ``holds_watches`` is set, a watch delivers nothing; what it had to deliver comes afterwards.
    """

    def __init__(self) -> None:
        self.answers_to_lose = 0
        self.holds_watches = False
        self.requests = 0
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to etcd."""
        raise NotImplementedError

    async def shut(self) -> None:
        """Cut every connection and take no more."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in list(self._links):
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        try:
            await self._link(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # a cut connection is what a proxy is for
        finally:
            self._links.discard(link)
            writer.close()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await self._connect()
        lose = watches = False

        async def forward() -> None:
            nonlocal lose, watches
            while data := await reader.read(1 << 16):
                self.requests += data.count(b"POST /v3/")
                watches = watches or b"/v3/watch" in data
                if b"/v3/kv/txn" in data and self.answers_to_lose:
                    self.answers_to_lose -= 1
                    lose = True
                back.write(data)
                await back.drain()

        async def answer() -> None:
            while (data := await there.read(1 << 16)) and not lose:
                while watches and self.holds_watches:
                    await asyncio.sleep(0.01)
                writer.write(data)
                await writer.drain()

        directions = [asyncio.create_task(forward()), asyncio.create_task(answer())]
        with contextlib.closing(back):
            try:
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in directions:
                    direction.cancel()
                await asyncio.gather(*directions, return_exceptions=True)


class Proxy(Links):
    """Between a client and etcd, on a unix socket."""

    def __init__(self, etcd: PrivateEtcd, socket: Path) -> None:
        super().__init__()
        self.socket = socket
        self._etcd = etcd

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.socket)

    async def shut(self) -> None:
        self.socket.unlink(missing_ok=True)
        await super().shut()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self._etcd.socket)


@contextlib.asynccontextmanager
async def proxy(etcd: PrivateEtcd) -> AsyncIterator[Proxy]:
    between = Proxy(etcd, etcd.socket.with_name("proxy.sock"))
    await between.open()
    try:
        yield between
    finally:
        await between.shut()
