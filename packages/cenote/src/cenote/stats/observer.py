"""The interface through which the API reads live statistics and logs of a node.

The API has no access to the host: it is given an ``Observer``, which queries the servers of this host.  None
of this is stored in records: values that change with every query would overload the store, and be stale when
read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Protocol
from uuid import UUID

import msgspec

from cenote.errors import Unavailable
from cenote.logs.messages import Message
from cenote.logs.sinks import SinkStatus
from cenote.model.records import Cluster, LogSource
from cenote.stats.counters import Passes


class PoolNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """PgBouncer's statistics of one pool, times in seconds; rates and averages are of its last period."""

    clients_active: int = 0
    clients_waiting: int = 0
    servers_active: int = 0
    servers_idle: int = 0
    servers_connecting: int = 0
    longest_wait: float = 0.0  # of the clients waiting now
    transactions: int = 0  # these seven count from the start of PgBouncer
    queries: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    waited: float = 0.0
    in_transactions: float = 0.0  # sums over all server connections, as the next
    in_queries: float = 0.0
    transaction_rate: float = 0.0  # per second, as the next three
    query_rate: float = 0.0
    received_byte_rate: float = 0.0
    sent_byte_rate: float = 0.0
    average_transaction: float = 0.0
    average_query: float = 0.0
    average_wait: float = 0.0


class DatabaseNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """PostgreSQL's statistics of one database since their last reset, times in seconds."""

    name: str
    connections: int
    transaction_id_age: int
    commits: int
    rollbacks: int
    blocks_hit: int
    blocks_read: int
    block_read_seconds: float
    block_write_seconds: float
    rows_returned: int
    rows_fetched: int
    rows_inserted: int
    rows_updated: int
    rows_deleted: int
    conflicts: int
    deadlocks: int
    temporary_files: int
    temporary_bytes: int


class SlotNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """A replication slot, and the size of the WAL retained for it."""

    name: str
    active: bool
    retained_bytes: int


class ServerNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics of a PostgreSQL server; ``connections`` counts those of customers by state.

    ``sizes`` of databases are in bytes; they take long to measure, so they may be outdated or missing.
    """

    started_at: float  # Unix time
    connections: dict[str, int]
    connections_allowed: int
    longest_transaction: float  # seconds
    waiting_for_locks: int
    wal_bytes: int
    slots: tuple[SlotNumbers, ...]
    databases: tuple[DatabaseNumbers, ...]
    sizes: dict[str, int]


class ServiceNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics of the service's process; points in time are Unix times."""

    passes: Passes
    certificate_expires_at: float | None  # of the API
    started_at: float
    cpu_seconds: float
    resident_bytes: int
    virtual_bytes: int
    open_files: int
    max_open_files: int


class MachineNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """The host of a cluster and the server on it; ``busy``, ``idle`` and ``server`` count CPU seconds."""

    processors: int
    busy: float  # of all processes
    idle: float
    server: float = 0.0  # of all processes of the cluster's PostgreSQL
    sessions: int = 0  # client connections to it: of pools, and direct ones


class Observer(Protocol):
    async def pools(self, cluster: Cluster) -> Mapping[str, PoolNumbers]:
        """Return the statistics of a cluster's pools by name; Unavailable when PgBouncer does not answer.

        A pool that was never used may be missing.
        """
        ...

    async def logs(
        self, cluster: Cluster, source: LogSource, count: int, cursor: str
    ) -> tuple[list[Message], str]:
        """Return the newest messages of a server, oldest first, and a cursor.

        With the cursor of an earlier call, only the messages after it.
        """

    async def server(self, cluster: Cluster) -> ServerNumbers:
        """Return the statistics of a cluster's server; raise Unavailable when it does not answer."""
        ...

    async def service(self) -> ServiceNumbers:
        """Return the statistics of the service's process and its agent; raise Unavailable without one."""
        ...

    async def machine(self, cluster: Cluster) -> MachineNumbers:
        """Return the statistics of the primary's host; Unavailable when they cannot be read."""
        ...

    def sinks(self, cluster: Cluster) -> Mapping[UUID, SinkStatus]:
        """Return the delivery status of a cluster's log sinks; a new one may be missing."""
        ...

    def is_own(self, address: IPv4Address | IPv6Address) -> bool:
        """Return whether an address is one of a host of clusters."""
        ...


class _NoObserver:
    """For an API without hosts, as in tests: nothing can be read."""

    async def pools(self, cluster: Cluster) -> Mapping[str, PoolNumbers]:
        raise Unavailable("This service cannot reach the pooler.")

    async def logs(
        self, cluster: Cluster, source: LogSource, count: int, cursor: str
    ) -> tuple[list[Message], str]:
        raise Unavailable("This service cannot read the logs.")

    async def server(self, cluster: Cluster) -> ServerNumbers:
        raise Unavailable("This service cannot reach the server.")

    async def service(self) -> ServiceNumbers:
        raise Unavailable("This service has no host.")

    async def machine(self, cluster: Cluster) -> MachineNumbers:
        raise Unavailable("This service cannot reach the host.")

    def sinks(self, cluster: Cluster) -> Mapping[UUID, SinkStatus]:
        return {}

    def is_own(self, address: IPv4Address | IPv6Address) -> bool:
        return False


NO_OBSERVER: Observer = _NoObserver()


Row = Mapping[str, Any]

_SUMMED = {
    "cl_active": "clients_active",
    "cl_waiting": "clients_waiting",
    "sv_active": "servers_active",
    # Idle for long, or being checked after that, counts as idle.
    "sv_idle": "servers_idle",
    "sv_used": "servers_idle",
    "sv_tested": "servers_idle",
    "sv_login": "servers_connecting",
}


def pool_numbers(pools: Iterable[Row], stats: Iterable[Row]) -> dict[str, PoolNumbers]:
    """Return the statistics of each pool from PgBouncer's ``SHOW POOLS`` and ``SHOW STATS``.

    ``SHOW POOLS`` has a row for each user of a pool; these are summed.  Its times are in microseconds.
    """
    found: dict[str, dict[str, float]] = {}
    for row in pools:
        numbers = found.setdefault(row["database"], {})
        for column, name in _SUMMED.items():
            numbers[name] = numbers.get(name, 0) + int(row[column])
        wait = int(row["maxwait"]) + int(row["maxwait_us"]) / 1e6
        numbers["longest_wait"] = max(numbers.get("longest_wait", 0.0), wait)
    for row in stats:
        found.setdefault(row["database"], {}).update(
            transactions=int(row["total_xact_count"]),
            queries=int(row["total_query_count"]),
            received_bytes=int(row["total_received"]),
            sent_bytes=int(row["total_sent"]),
            waited=int(row["total_wait_time"]) / 1e6,
            in_transactions=int(row["total_xact_time"]) / 1e6,
            in_queries=int(row["total_query_time"]) / 1e6,
            transaction_rate=float(row["avg_xact_count"]),
            query_rate=float(row["avg_query_count"]),
            received_byte_rate=float(row["avg_recv"]),
            sent_byte_rate=float(row["avg_sent"]),
            average_transaction=int(row["avg_xact_time"]) / 1e6,
            average_query=int(row["avg_query_time"]) / 1e6,
            average_wait=int(row["avg_wait_time"]) / 1e6,
        )
    return {name: msgspec.convert(numbers, PoolNumbers) for name, numbers in found.items()}
