"""Statistics, logs and load of the servers on this host, for the API and for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID

import psutil

from cenote.errors import CenoteError, Unavailable
from cenote.host import log_files, outbound, processes, sql
from cenote.host.cpu import CpuUsage
from cenote.host.statistics import ServerStatistics
from cenote.logs.destinations import Address
from cenote.logs.messages import Message
from cenote.logs.sinks import SinkStatus
from cenote.model.paths import Layout
from cenote.model.records import Cluster, LogSource
from cenote.security import certificates
from cenote.stats.counters import Passes
from cenote.stats.observer import MachineNumbers, PoolNumbers, ServerNumbers, ServiceNumbers, pool_numbers


class HostObserver:
    """The ``Observer`` for nodes on this host."""

    def __init__(
        self,
        layout: Layout,
        passes: Passes | None = None,
        certificate: Path | None = None,
        sinks: Callable[[Cluster], Mapping[UUID, SinkStatus]] = lambda _: {},
    ) -> None:
        """``passes`` and ``sinks`` are the agent's, ``certificate`` is the API's."""
        self._layout, self._certificate = layout, certificate or layout.api_certificate
        self._passes = passes or Passes()
        self._sinks = sinks
        self._statistics = ServerStatistics(layout)
        self._cpu = CpuUsage()

    async def pools(self, cluster: Cluster) -> Mapping[str, PoolNumbers]:
        sockets, port = self._layout.node(cluster.id).sockets, cluster.primary.pool_port
        try:
            return pool_numbers(*await sql.console(sockets, port, "SHOW POOLS", "SHOW STATS"))
        except CenoteError as error:
            raise Unavailable(f"The pooler of this cluster does not answer: {error.message}") from None

    async def server(self, cluster: Cluster) -> ServerNumbers:
        try:
            return await self._statistics.read(cluster)
        except CenoteError as error:
            raise Unavailable(f"The server of this cluster does not answer: {error.message}") from None

    async def service(self) -> ServiceNumbers:
        process = psutil.Process()
        with process.oneshot():
            cpu, memory = process.cpu_times(), process.memory_info()
            return ServiceNumbers(
                passes=self._passes,
                certificate_expires_at=self._expiry(),
                started_at=process.create_time(),
                cpu_seconds=cpu.user + cpu.system,
                resident_bytes=memory.rss,
                virtual_bytes=memory.vms,
                open_files=process.num_fds(),
                max_open_files=process.rlimit(psutil.RLIMIT_NOFILE)[0],
            )

    def _expiry(self) -> float | None:
        try:
            return certificates.expires_at(self._certificate.read_bytes()).timestamp()
        except (OSError, ValueError):  # such as a certificate of the user that is being replaced
            return None

    async def logs(
        self, cluster: Cluster, source: LogSource, count: int, cursor: str
    ) -> tuple[list[Message], str]:
        path = self._layout.node(cluster.id).log(source)
        return await asyncio.to_thread(log_files.tail, path, source, count, cursor)

    async def machine(self, cluster: Cluster) -> MachineNumbers:
        server = processes.find(self._layout.node(cluster.id).server(Path()))
        try:
            # In a thread, since there may be thousands of processes.
            return await asyncio.to_thread(self._cpu.read, None if server is None else server.pid)
        except OSError as error:
            raise Unavailable(f"The CPU statistics of the host cannot be read: {error.strerror}") from None

    def sinks(self, cluster: Cluster) -> Mapping[UUID, SinkStatus]:
        return self._sinks(cluster)

    def is_own(self, address: Address) -> bool:
        return outbound.is_own(address)
