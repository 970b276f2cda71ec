"""The hosts of a store, as far as their agents write into it; no server runs on them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Self
from uuid import UUID

from msgspec.structs import replace

from cenote.model.fleet_records import Host
from cenote.model.status_records import NodeStatus
from cenote.store import EtcdClient, PrivateEtcd, Store
from cenote.store.host_store import HostStore
from tests.support.etcd import Proxy


@contextlib.asynccontextmanager
async def hosts_of(etcd: PrivateEtcd | Proxy, store: Store) -> AsyncIterator[Hosts]:
    """The hosts of a store with the usual prefix, reaching etcd on their own."""
    client = EtcdClient(socket=etcd.socket)
    try:
        async with Hosts(client, store) as hosts:
            yield hosts
    finally:
        await client.close()


class Hosts:
    """Writes through a host's own store, and returns when ``store`` has it; a context manager."""

    def __init__(self, client: EtcdClient, store: Store, prefix: str = "/cenote/") -> None:
        self._client, self._store, self._prefix = client, store, prefix
        self._agents: dict[str, HostStore] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for agent in self._agents.values():
            await agent.close()

    async def agent(self, host_id: str) -> HostStore:
        if host_id not in self._agents:
            self._agents[host_id] = HostStore(self._client, host_id, prefix=self._prefix)
            await self._agents[host_id].open()
        return self._agents[host_id]

    async def announce(self, host: Host) -> None:
        await (await self.agent(host.id)).announce(host)

        def seen() -> bool | None:
            found = self._store.host(host.id)
            there = found is not None and replace(found, seen_at=host.seen_at) == host
            return (there and host.id in self._store.presences()) or None

        assert await self._store.wait(seen, 10)

    async def report(self, cluster_id: UUID, node: str, status: NodeStatus) -> None:
        stored = self._store.cluster(cluster_id)
        assert stored is not None
        agent = await self.agent(next(one.host for one in stored.value.nodes if one.name == node))
        await agent.report(cluster_id, node, status)
        written = agent.status(cluster_id, node)
        assert await self._store.wait(lambda: self._store.status(cluster_id, node) == written or None, 10)
