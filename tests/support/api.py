"""The API on a real store, called in process; the agent is absent, so a test reports for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from msgspec.structs import replace

from cenote.api import Settings, auth, create_app
from cenote.errors import Unavailable
from cenote.host.observer import HostObserver
from cenote.logs.destinations import Address
from cenote.model.fleet_records import Host
from cenote.model.paths import Layout
from cenote.model.records import Cluster
from cenote.model.status_records import NodeStatus
from cenote.model.timing import Timing
from cenote.model.topology import writer_or_first
from cenote.rules import record_formats
from cenote.security.sealing import Rings, Sealer
from cenote.stats.observer import Observer
from cenote.store import EtcdClient, HostStore, PrivateEtcd, Store
from tests.support.etcd import etcd_program
from tests.support.folders import server_folder

AT_ONCE = Settings(wait_seconds=0, host_id="here")
HOST = Host(
    id="here",
    name="here",
    address="localhost",
    memory_mib=8192,
    cpus=2,
    versions={"15": "15.18", "16": "16.4"},
    reads=record_formats.HIGHEST,
    extensions={"15": ("hstore", "pg_trgm"), "16": ("pg_trgm",)},
    first_port=25060,
    last_port=25099,
)
BACKEND = {
    "name": "backend",
    "engine": "pg",
    "version": "15",
    "size": "db-s-1vcpu-1gb",
    "region": "nyc1",
    "num_nodes": 1,
}
POOL = {"name": "backend-pool", "user": "doadmin", "size": 10, "db": "defaultdb", "mode": "transaction"}


def rings(folder: Path) -> Rings:
    return Rings(Sealer(folder / "key"), Sealer(folder / "host.key"))


class StandIn(HostStore):
    """Reports for an agent: what a test says of a node, and that changes were carried out.

    The two come from different tasks.  As with an agent, a report rests on the one before it: else one could
    write back what was read before the other's.
    """

    def __init__(self, client: EtcdClient, host_id: str, prefix: str) -> None:
        super().__init__(client, host_id, prefix=prefix)
        self._said: dict[tuple[UUID, str], NodeStatus] = {}
        self._saying = asyncio.Lock()

    async def report(self, cluster_id: UUID, node_name: str, status: NodeStatus) -> None:
        async with self._saying:
            await self._say(cluster_id, node_name, status)

    async def tried(self, cluster: Cluster, node_name: str, revision: int) -> None:
        """Say of a change that it was carried out, if anything was said of the node before."""
        gone = tuple(removal.id for removal in cluster.removing)
        async with self._saying:
            said = self._said.get((cluster.id, node_name)) or self.status(cluster.id, node_name)
            if said is not None and said.reached:
                done = replace(said, tried=max(said.tried, revision), gone=gone)
                await self._say(cluster.id, node_name, done)

    async def _say(self, cluster_id: UUID, node_name: str, status: NodeStatus) -> None:
        self._said[cluster_id, node_name] = status
        await super().report(cluster_id, node_name, status)


@dataclass
class Api:
    store: Store
    hosts: dict[str, StandIn]  # by id
    rings: Rings
    http: httpx.AsyncClient
    app: Any  # an ASGI application, for answers that do not end, which httpx would wait for

    @property
    def sealer(self) -> Sealer:
        return self.rings.api

    async def call(self, method: str, path: str, expected: int, **given: Any) -> Any:
        """Make a call, check its status code, and return its body."""
        answer = await self.http.request(method, path, **given)
        assert answer.status_code == expected, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def refusal(self, method: str, path: str, expected: int, **given: Any) -> str:
        """Make a call that is refused, and return the message."""
        body = await self.call(method, path, expected, **given)
        assert set(body) == {"id", "message", "request_id"}
        return str(body["message"])

    async def add_cluster(self, **changes: Any) -> str:
        """Create a cluster, and return the path of it."""
        created = await self.call("POST", "/v2/databases", 201, json={**BACKEND, **changes})
        return f"/v2/databases/{created['database']['id']}"

    async def token(self, *scopes: str, expires_at: datetime | None = None) -> dict[str, str]:
        """Make a token, and return the header that shows it."""
        text, token = auth.mint("test", scopes, expires_at)
        await self.store.add_token(auth.digest(text.reveal()), token)
        return {"authorization": f"Bearer {text.reveal()}"}

    async def report(self, cluster: str, reason: str = "", *, failing: bool = False) -> None:
        """Say, as an agent would, that all that is wanted of a cluster has been done."""
        id = UUID(cluster.rpartition("/")[2])
        stored = self.store.cluster(id)
        assert stored is not None
        gone = tuple(removal.id for removal in stored.value.removing)
        status = NodeStatus(
            reached=stored.revision, reason=reason, failing=failing, at=datetime.now(UTC), gone=gone
        )
        await self.write_report(id, status)

    async def write_report(self, id: UUID, status: NodeStatus) -> None:
        """Write what the agent of a cluster's host would report, and wait until the API has it."""
        stored = self.store.cluster(id)
        assert stored is not None
        node = writer_or_first(stored.value)
        await self.hosts[node.host].report(id, node.name, status)
        await self.store.wait(lambda: _is_there(self.store.status(id, node.name), status), 10)


class BareHost(HostObserver):
    """A host without servers.

    It has no address either: a test's machine may have one of those that are for examples.
    """

    async def is_own(self, cluster_id: UUID, node: str, address: Address) -> bool:
        return False


Scenario = Callable[[Api], Awaitable[None]]


class Apis:
    """One etcd for several tests; each has records of its own in it."""

    def __init__(self, etcd: PrivateEtcd, folder: Path) -> None:
        self._etcd = etcd
        self._folder = folder

    def run(
        self,
        scenario: Scenario,
        settings: Settings = AT_ONCE,
        hosts: tuple[Host, ...] = (HOST,),
        observer: Observer | None = None,
        timing: Timing | None = None,
        *,
        tries: bool = True,
    ) -> None:
        """Run a test; without an ``observer`` the API asks a host on which no server runs.

        ``tries``: once a test has reported on a cluster, each change of it is reported as carried out.
        """
        asyncio.run(self._run(scenario, settings, hosts, observer, timing or Timing(), tries))

    async def _run(
        self,
        scenario: Scenario,
        settings: Settings,
        hosts: tuple[Host, ...],
        observer: Observer | None,
        timing: Timing,
        tries: bool,
    ) -> None:
        async with self._api(settings, hosts, observer, timing) as api:
            trying = asyncio.create_task(_report_changes(api)) if tries else None
            try:
                await scenario(api)
            finally:
                if trying is not None:
                    trying.cancel()
                    await asyncio.wait([trying])

    @contextlib.asynccontextmanager
    async def _api(
        self, settings: Settings, hosts: tuple[Host, ...], observer: Observer | None, timing: Timing
    ) -> AsyncIterator[Api]:
        gateway = EtcdClient(socket=self._etcd.socket)
        store = Store(gateway, f"/{uuid4()}/")
        both = rings(self._folder)
        await store.open()
        announced: dict[str, StandIn] = {}
        try:
            for host in hosts:
                announced[host.id] = await announce(store, gateway, host)
            observer = observer or BareHost(Layout(self._folder), store, HOST.name, timing=timing)
            app = create_app(store, both, settings, observer, timing)
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="https://api.test") as http:
                api = Api(store, announced, both, http, app)
                http.headers.update(await api.token("*"))
                yield api
        finally:
            for host_store in announced.values():
                await host_store.close()
            await store.close()
            await gateway.close()


async def _report_changes(api: Api) -> None:
    """Say of each change that it was carried out; the revision that was reached stays."""
    with api.store.changes() as changes:
        async for id in changes:
            stored = api.store.cluster(id)
            if stored is None or stored.value.deleted_at is not None:
                continue
            node = writer_or_first(stored.value)
            with contextlib.suppress(Unavailable):
                await api.hosts[node.host].tried(stored.value, node.name, stored.revision)


async def announce(store: Store, client: EtcdClient, host: Host) -> StandIn:
    """Announce a host, as its agent would, and wait until the store knows it."""
    host_store = StandIn(client, host.id, store.keys.root)
    await host_store.open()
    await host_store.announce(host)
    await store.wait(lambda: True if any(one.id == host.id for one in store.hosts()) else None, 10)
    return host_store


@contextlib.asynccontextmanager
async def announced(store: Store, client: EtcdClient, host: Host) -> AsyncIterator[StandIn]:
    host_store = await announce(store, client, host)
    try:
        yield host_store
    finally:
        await host_store.close()


def _is_there(found: NodeStatus | None, wanted: NodeStatus) -> bool | None:
    same = found is not None and replace(found, run=wanted.run, notes=wanted.notes) == wanted
    return same or None


def running_apis() -> Iterator[Apis]:
    """The body of a fixture: an etcd for a module's tests."""
    with server_folder() as folder:
        etcd = PrivateEtcd(folder / "etcd", etcd_program())
        try:
            asyncio.run(etcd.start())
            yield Apis(etcd, folder)
        finally:
            asyncio.run(etcd.stop())
