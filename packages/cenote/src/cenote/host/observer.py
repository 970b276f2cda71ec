"""Statistics, logs and load of the servers on this host, for the API and for Prometheus."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

from cenote.errors import CenoteError, Unavailable
from cenote.host import log_files, outbound, processes, sql
from cenote.host.cpu import CpuUsage
from cenote.host.statistics import ServerStatistics
from cenote.logs.destinations import Address
from cenote.logs.filters import ALL, LogFilter
from cenote.logs.sinks import SinkStatus
from cenote.model.paths import Layout
from cenote.model.records import Cluster, LogSource, Node
from cenote.model.timing import DEFAULT, Timing
from cenote.stats.counters import Passes
from cenote.stats.observer import (
    AgentNumbers,
    HistoryTables,
    LogPage,
    MachineNumbers,
    MigrationCheck,
    MigrationQuestion,
    PoolNumbers,
    Samples,
    ServerNumbers,
    UpgradeProblems,
    pool_numbers,
)
from cenote.stats.process import own_process
from cenote.stats.sampler import Clusters, Sampler

UpgradeQuestion: TypeAlias = Callable[[Cluster, Node, str], Awaitable[UpgradeProblems]]
MigrationLook: TypeAlias = Callable[[Cluster, Node, MigrationQuestion], Awaitable[MigrationCheck]]

_NOT_HERE = "This cluster is not on the host that was asked. Try again later."


class HostObserver:
    """The ``Observer`` for nodes on this host, with a ``sampler``, which somebody has to run."""

    def __init__(
        self,
        layout: Layout,
        records: Clusters,
        host: str,
        passes: Passes | None = None,
        sinks: Callable[[UUID, str], Mapping[UUID, SinkStatus]] = lambda _id, _node: {},
        timing: Timing = DEFAULT,
        look_again: Callable[[UUID], Awaitable[None]] | None = None,
        upgrade_problems: UpgradeQuestion | None = None,
        migration_check: MigrationLook | None = None,
    ) -> None:
        """``host`` is this host as the records of nodes name it.

        ``passes``, ``sinks``, ``look_again``, which looks at a cluster and reports, ``upgrade_problems`` and
        ``migration_check`` are the agent's.
        """
        self._layout, self._records, self._host = layout, records, host
        self._passes = passes or Passes()
        self._sinks = sinks
        self._look_again, self._upgrade_problems = look_again, upgrade_problems
        self._migration_check = migration_check
        self._statistics = ServerStatistics(layout)
        self._cpu = CpuUsage()
        self.sampler = Sampler(records, self, host, timing)

    async def pools(self, cluster_id: UUID, node: str) -> Mapping[str, PoolNumbers]:
        return pool_numbers(*await self._pooler(cluster_id, node, "SHOW POOLS", "SHOW STATS"))

    async def outdated_connections(self, cluster_id: UUID, node: str) -> Mapping[str, int]:
        [servers] = await self._pooler(cluster_id, node, "SHOW SERVERS")
        return Counter(row["database"] for row in servers if int(row["close_needed"]))

    async def look_again(self, cluster_id: UUID, node: str) -> None:
        self._node(cluster_id, node)
        if self._look_again is None:
            raise Unavailable("This host has no agent.")
        await self._look_again(cluster_id)

    async def upgrade_problems(self, cluster_id: UUID, node: str, version: str) -> UpgradeProblems:
        cluster, found = self._cluster(cluster_id), self._node(cluster_id, node)
        if self._upgrade_problems is None:
            raise Unavailable("This host has no agent.")
        return await self._upgrade_problems(cluster, found, version)

    async def migration_check(
        self, cluster_id: UUID, node: str, question: MigrationQuestion
    ) -> MigrationCheck:
        cluster, found = self._cluster(cluster_id), self._node(cluster_id, node)
        if self._migration_check is None:
            raise Unavailable("This host has no agent.")
        return await self._migration_check(cluster, found, question)

    async def server(self, cluster_id: UUID, node: str) -> ServerNumbers:
        cluster = self._cluster(cluster_id)
        try:
            return await self._statistics.read(cluster, self._node(cluster_id, node))
        except CenoteError as error:
            raise Unavailable(f"The server of this cluster does not answer: {error.message}") from None

    async def logs(
        self, cluster_id: UUID, node: str, source: LogSource, count: int, cursor: str, wanted: LogFilter = ALL
    ) -> LogPage:
        self._node(cluster_id, node)
        path = self._layout.node(cluster_id, node).log(source)
        return LogPage(*await asyncio.to_thread(log_files.tail, path, source, count, cursor, wanted))

    async def machine(self, cluster_id: UUID, node: str) -> MachineNumbers:
        """Return the statistics of this host and the node's server; Unavailable when they cannot be read."""
        self._node(cluster_id, node)
        server = processes.find(self._layout.node(cluster_id, node).server(Path()))
        try:
            # In a thread, since there may be thousands of processes.
            return await asyncio.to_thread(self._cpu.read, None if server is None else server.pid)
        except OSError as error:
            raise Unavailable(f"The CPU statistics of the host cannot be read: {error.strerror}") from None

    async def sinks(self, cluster_id: UUID, node: str) -> Mapping[UUID, SinkStatus]:
        self._node(cluster_id, node)
        return self._sinks(cluster_id, node)

    async def history(self, cluster_id: UUID, node: str, minutes: int) -> HistoryTables:
        self._node(cluster_id, node)
        return self.sampler.history(cluster_id, node).tables(self.sampler.now(), minutes)

    async def samples(self, cluster_id: UUID, node: str, after: float) -> AsyncGenerator[Samples, None]:
        self._node(cluster_id, node)
        following = self.sampler.follow(cluster_id, node, after)
        try:
            async for found in following:
                yield found
        finally:
            await following.aclose()

    async def is_own(self, cluster_id: UUID, node: str, address: Address) -> bool:
        self._node(cluster_id, node)
        return outbound.is_own(address)

    async def agent(self, host_id: str = "") -> AgentNumbers:
        return AgentNumbers(passes=self._passes.numbers(), process=own_process())

    async def _pooler(self, cluster_id: UUID, node: str, *commands: str) -> list[list[dict[str, Any]]]:
        """Return the rows of each of these commands on PgBouncer's console."""
        sockets, port = self._layout.cluster(cluster_id).sockets, self._node(cluster_id, node).pool_port
        try:
            return await sql.console(sockets, port, *commands)
        except CenoteError as error:
            raise Unavailable(f"The pooler of this cluster does not answer: {error.message}") from None

    def _node(self, cluster_id: UUID, name: str) -> Node:
        """Return a node from its record; Unavailable if it is not one of this host."""
        for node in self._cluster(cluster_id).nodes:
            if node.name == name and node.host == self._host:
                return node
        raise Unavailable(_NOT_HERE)

    def _cluster(self, id: UUID) -> Cluster:
        cluster = self._records.living_cluster(id)
        if cluster is None:
            raise Unavailable(_NOT_HERE)
        return cluster
