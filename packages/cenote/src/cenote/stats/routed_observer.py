"""The ``Observer`` of a service with many hosts: each question goes to the agent of the node's host.

That of this host is asked on its unix socket, the others over mutual TLS.  Each host has connections of its
own, so one that does not answer delays no answer of another.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from typing import Protocol
from uuid import UUID

from cenote.errors import Unavailable
from cenote.logs.destinations import Address
from cenote.logs.filters import ALL, LogFilter
from cenote.logs.sinks import SinkStatus
from cenote.model.backups import Archived
from cenote.model.fleet_ports import FleetPorts
from cenote.model.fleet_records import Host
from cenote.model.records import Cluster, LogSource
from cenote.rules import record_formats
from cenote.security.fleet_certificates import HOST_SUFFIX
from cenote.stats.observer import (
    AgentNumbers,
    HistoryTables,
    LogPage,
    MigrationCheck,
    MigrationQuestion,
    PoolNumbers,
    Samples,
    ServerNumbers,
    UpgradeProblems,
)
from cenote.stats.remote_observer import Peer, RemoteObserver


class Hosts(Protocol):
    """The records that say where a node is."""

    def living_cluster(self, id: UUID) -> Cluster | None: ...

    def host(self, id: str) -> Host | None: ...


class RoutedObserver:
    """Asks the agents of all hosts; ``own`` is that of this host, whose id is ``own_id``.

    ``context`` returns what is shown to the agents of other hosts, None for a host that is in no fleet.
    """

    def __init__(
        self,
        records: Hosts,
        own_id: str,
        own: RemoteObserver,
        context: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> None:
        self._records, self._own_id, self._own, self._context = records, own_id, own, context
        self._others: dict[str, tuple[Peer, RemoteObserver]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def end_streams(self) -> None:
        """End all streams: this process shuts down."""
        for observer in self._all():
            observer.end_streams()

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(observer.close() for observer in self._all()), *self._closing)

    async def pools(self, cluster_id: UUID, node: str) -> Mapping[str, PoolNumbers]:
        return await self._of(cluster_id, node).pools(cluster_id, node)

    async def outdated_connections(self, cluster_id: UUID, node: str) -> Mapping[str, int]:
        return await self._of(cluster_id, node).outdated_connections(cluster_id, node)

    async def look_again(self, cluster_id: UUID, node: str) -> None:
        await self._of(cluster_id, node).look_again(cluster_id, node)

    async def upgrade_problems(self, cluster_id: UUID, node: str, version: str) -> UpgradeProblems:
        return await self._of(cluster_id, node).upgrade_problems(cluster_id, node, version)

    async def migration_check(
        self, cluster_id: UUID, node: str, question: MigrationQuestion
    ) -> MigrationCheck:
        return await self._of(cluster_id, node).migration_check(cluster_id, node, question)

    async def server(self, cluster_id: UUID, node: str) -> ServerNumbers:
        return await self._of(cluster_id, node).server(cluster_id, node)

    async def logs(
        self, cluster_id: UUID, node: str, source: LogSource, count: int, cursor: str, wanted: LogFilter = ALL
    ) -> LogPage:
        return await self._of(cluster_id, node).logs(cluster_id, node, source, count, cursor, wanted)

    async def sinks(self, cluster_id: UUID, node: str) -> Mapping[UUID, SinkStatus]:
        return await self._of(cluster_id, node).sinks(cluster_id, node)

    async def history(self, cluster_id: UUID, node: str, minutes: int) -> HistoryTables:
        return await self._of(cluster_id, node).history(cluster_id, node, minutes)

    async def samples(self, cluster_id: UUID, node: str, after: float) -> AsyncGenerator[Samples, None]:
        async with contextlib.aclosing(self._of(cluster_id, node).samples(cluster_id, node, after)) as found:
            async for one in found:
                yield one

    async def is_own(self, cluster_id: UUID, node: str, address: Address) -> bool:
        return await self._of(cluster_id, node).is_own(cluster_id, node, address)

    # -- Hosts, by their ids

    async def agent(self, host_id: str = "") -> AgentNumbers:
        """Return the statistics of a host's agent, by default of this host's."""
        return await self._on(host_id or self._own_id).agent()

    async def archived(self, cluster_id: UUID, host_id: str) -> Archived:
        """Return what the repository of a host has of a cluster."""
        return await self._on(host_id).archived(cluster_id)

    async def claim(self, cluster_id: UUID, host_id: str, ports: Iterable[int]) -> frozenset[int]:
        """Claim ports; those of a host that cannot be asked, as it has no address, by the store alone."""
        host = self._records.host(host_id)
        if host_id != self._own_id and host is not None and not host.fleet_address:
            return frozenset()
        return await self._on(host_id).claim_ports(cluster_id, ports)

    async def release(self, cluster_id: UUID, host_id: str) -> None:
        with contextlib.suppress(Unavailable):  # the host gives up by itself what no record names
            await self._on(host_id).release_ports(cluster_id)

    async def add_host_key(self, host_id: str, line: str) -> None:
        await self._on(host_id).add_host_key(line)

    async def keep_host_keys(self, host_id: str, ids: Collection[str]) -> None:
        await self._on(host_id).keep_host_keys(ids)

    def _of(self, cluster_id: UUID, name: str) -> RemoteObserver:
        cluster = self._records.living_cluster(cluster_id)
        nodes = () if cluster is None else cluster.nodes
        host_id = next((node.host for node in nodes if node.name == name), self._own_id)
        return self._on(host_id)

    def _on(self, host_id: str) -> RemoteObserver:
        """Return the agent of a host; Unavailable if that cannot be asked."""
        if host_id == self._own_id:
            return self._own
        peer = self._peer(host_id)
        known = self._others.get(host_id)
        if known is not None:
            if known[0] == peer:
                return known[1]
            closing = asyncio.create_task(known[1].close())  # it has another address now
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        observer = RemoteObserver(peer, lambda: self._name(host_id))
        self._others[host_id] = peer, observer
        return observer

    def _peer(self, host_id: str) -> Peer:
        host = self._records.host(host_id)
        if host is None:
            raise Unavailable("This cluster's host is in no record; it was removed.")
        if record_formats.is_behind(host):
            told = record_formats.in_words(host)
            raise Unavailable(f"The host {self._name(host_id)} cannot be asked: it runs {told}. Upgrade it.")
        context = self._context()
        if context is None or not host.fleet_address:
            raise Unavailable(
                f"The host {self._name(host_id)} cannot be asked from here: both hosts must be started with "
                "--address."
            )
        port = FleetPorts.of(host.fleet_port).agent
        return Peer(host.fleet_address, port, f"{host_id}{HOST_SUFFIX}", context)

    def _name(self, host_id: str) -> str:
        host = self._records.host(host_id)
        return host_id if host is None else host.name

    def _all(self) -> list[RemoteObserver]:
        return [self._own, *(observer for _, observer in self._others.values())]
