"""What the API may ask of a running node, and the shape of the answers.

The API cannot touch a machine: whoever serves it gives it an ``Observer``, which asks the servers of this
host.  With several hosts it will be one that asks the host of the node.  Nothing of this is in a record:
numbers that change with every query would wear out the store, and be old when they are read.
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
    """What a pooler counts of one pool.  Times are in seconds; rates and averages are of its last period."""

    clients_active: int = 0
    clients_waiting: int = 0
    servers_active: int = 0
    servers_idle: int = 0
    servers_connecting: int = 0
    longest_wait: float = 0.0  # of the clients that wait at this moment
    transactions: int = 0  # these seven since the pooler started
    queries: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    waited: float = 0.0
    in_transactions: float = 0.0  # of all server connections together, as the next
    in_queries: float = 0.0
    transaction_rate: float = 0.0  # a second, as the next three
    query_rate: float = 0.0
    received_byte_rate: float = 0.0
    sent_byte_rate: float = 0.0
    average_transaction: float = 0.0
    average_query: float = 0.0
    average_wait: float = 0.0


class DatabaseNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """What PostgreSQL counts of one database, since its statistics were last reset; times are in seconds."""

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
    """A replication slot, and what is kept of the write-ahead log for whoever reads from it."""

    name: str
    active: bool
    retained_bytes: int


class ServerNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """What goes on in a PostgreSQL: connections are those of customers, by the server's words for states.

    ``sizes`` are of databases, in bytes; they take a while to measure, so they may be old or missing.
    """

    started_at: float  # seconds of the epoch
    connections: dict[str, int]
    connections_allowed: int
    longest_transaction: float  # seconds
    waiting_for_locks: int
    wal_bytes: int
    slots: tuple[SlotNumbers, ...]
    databases: tuple[DatabaseNumbers, ...]
    sizes: dict[str, int]


class ServiceNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """What goes on in the process that serves; times of day are in seconds of the epoch."""

    passes: Passes
    certificate_expires_at: float | None  # of the API
    started_at: float
    cpu_seconds: float
    resident_bytes: int
    virtual_bytes: int
    open_files: int
    most_files: int


class MachineNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """The host of a cluster, and the cluster's server on it.  Seconds are of processor time, and grow."""

    processors: int
    busy: float  # of everything that runs there
    idle: float
    server: float = 0.0  # of the cluster's PostgreSQL, all its processes together
    sessions: int = 0  # clients' connections to it: those of its pools, and direct ones


class Observer(Protocol):
    async def pools(self, cluster: Cluster) -> Mapping[str, PoolNumbers]:
        """Return the numbers of the pools of a cluster by name; Unavailable when its pooler does not answer.

        A pool that no client has used yet may be missing.
        """
        ...

    async def logs(
        self, cluster: Cluster, source: LogSource, count: int, cursor: str
    ) -> tuple[list[Message], str]:
        """Return the newest messages of a server, the oldest of them first, and a cursor.

        With the cursor of an earlier answer, those that came after it.
        """

    async def server(self, cluster: Cluster) -> ServerNumbers:
        """Return the numbers of a cluster's server; Unavailable when it does not answer."""
        ...

    async def service(self) -> ServiceNumbers:
        """Return the numbers of the process that serves, and of its agent; Unavailable without one."""
        ...

    async def machine(self, cluster: Cluster) -> MachineNumbers:
        """Return the numbers of the host of a cluster's primary; Unavailable when it does not tell them."""
        ...

    def sinks(self, cluster: Cluster) -> Mapping[UUID, SinkStatus]:
        """Return how the log sinks of a cluster get on; one that was just made may be missing."""
        ...

    def is_own(self, address: IPv4Address | IPv6Address) -> bool:
        """Return whether an address leads to a host of the clusters itself."""
        ...


class _NoObserver:
    """For an API without hosts: every cluster's pooler is out of reach."""

    async def pools(self, cluster: Cluster) -> Mapping[str, PoolNumbers]:
        raise Unavailable("This service has no way to ask the pooler.")

    async def logs(
        self, cluster: Cluster, source: LogSource, count: int, cursor: str
    ) -> tuple[list[Message], str]:
        raise Unavailable("This service has no way to read the logs.")

    async def server(self, cluster: Cluster) -> ServerNumbers:
        raise Unavailable("This service has no way to ask the server.")

    async def service(self) -> ServiceNumbers:
        raise Unavailable("This service has no host.")

    async def machine(self, cluster: Cluster) -> MachineNumbers:
        raise Unavailable("This service has no way to ask the host.")

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
    # Idle for long, or being checked after that, is idle, too.
    "sv_idle": "servers_idle",
    "sv_used": "servers_idle",
    "sv_tested": "servers_idle",
    "sv_login": "servers_connecting",
}


def pool_numbers(pools: Iterable[Row], stats: Iterable[Row]) -> dict[str, PoolNumbers]:
    """Return each pool's numbers from the rows of PgBouncer's ``SHOW POOLS`` and ``SHOW STATS``.

    ``SHOW POOLS`` has a row for each user of a pool, which are added up.  PgBouncer counts time in
    microseconds.
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
