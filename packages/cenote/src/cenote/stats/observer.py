"""The interface through which the API reads live statistics and logs of a node.

The API has no access to a host: the agent there answers (``host/observer.py``), and the API asks it over its
socket or its port (``stats/routed_observer.py``).  A node is addressed by the id of its cluster and its own
name.  An answer that cannot be had is Unavailable, never an empty one.  None of this is stored in records:
values that change with every query would overload the store, and be stale when read.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from typing import Any, Protocol
from uuid import UUID

import msgspec

from cenote.errors import Unavailable
from cenote.logs.destinations import Address
from cenote.logs.filters import ALL, LogFilter
from cenote.logs.messages import Message
from cenote.logs.sinks import SinkStatus
from cenote.model.backups import Archived
from cenote.model.migrations import Method, MigrationSource
from cenote.model.records import LogSource
from cenote.stats.counters import PassNumbers
from cenote.stats.process import ProcessNumbers


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
    certificate_expires_at: float | None = None  # the same; of the certificate that the node's servers show
    certificate_valid: bool | None = None
    connections: dict[str, int]
    connections_allowed: int
    longest_transaction: float  # seconds
    waiting_for_locks: int
    wal_bytes: int
    timeline: int | None = None  # not known of a standby that does not receive, and of agents before 0.2
    slots: tuple[SlotNumbers, ...]
    databases: tuple[DatabaseNumbers, ...]
    sizes: dict[str, int]


class MachineNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """The host of a cluster and the server on it; ``busy``, ``idle`` and ``server`` count CPU seconds."""

    processors: int
    busy: float  # of all processes
    idle: float
    server: float = 0.0  # of all processes of the cluster's PostgreSQL
    sessions: int = 0  # client connections to it: of pools, and direct ones


class AgentNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics of an agent and its process."""

    passes: PassNumbers
    process: ProcessNumbers


class LogPage(msgspec.Struct, frozen=True):
    """The newest messages of a server, oldest first; ``cursor`` is for asking for those after them."""

    messages: list[Message]
    cursor: str


Columns = dict[str, bytes]  # of a table of the history, by name


class PoolTables(msgspec.Struct, frozen=True, kw_only=True):
    """The history of a pool; ``minutes`` is empty when only samples were asked for."""

    samples: Columns
    minutes: Columns


class HistoryTables(msgspec.Struct, frozen=True, kw_only=True):
    """The history of a cluster's pools and its host at the time ``now``; see ``ClusterHistory.of``."""

    now: float
    pools: dict[str, PoolTables]
    machine: Columns


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A sample of all pools at a Unix time; ``busy`` and ``sessions`` are None when the host gave none."""

    at: float
    pools: dict[str, dict[str, float]]
    busy: float | None = None
    sessions: int | None = None


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """The next samples, often none or one; ``problem`` says why there are none, empty if all is well."""

    samples: list[Sample] = []
    problem: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """Why an agent does not answer, in words."""

    message: str


class UpgradeProblems(msgspec.Struct, frozen=True, kw_only=True):
    """What is in the way of an upgrade to another major version.

    ``is_known``: it was found out in the time that there was.
    """

    problems: list[str] = []
    is_known: bool = True


class MigrationQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A migration that somebody wants: the source, and the names of databases that are not wanted."""

    source: MigrationSource
    ignored: tuple[str, ...] = ()
    full_identity: bool = False


class MigrationCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What is in the way of a migration, and how it would go.

    ``warnings`` are what the customer should know of it.
    """

    problems: list[str] = []
    warnings: list[str] = []
    method: Method = Method.LOGICAL
    databases: list[str] = []


class Observer(Protocol):
    """All methods raise Unavailable when the host does not answer, or does not have the node."""

    async def pools(self, cluster_id: UUID, node: str) -> Mapping[str, PoolNumbers]:
        """Return the statistics of a node's pools by name; Unavailable when PgBouncer does not answer.

        A pool that was never used may be missing.
        """
        ...

    async def outdated_connections(self, cluster_id: UUID, node: str) -> Mapping[str, int]:
        """Return how many server connections of each pool PgBouncer will close once they are released.

        Pools without any are missing.
        """
        ...

    async def look_again(self, cluster_id: UUID, node: str) -> None:
        """Have the agent look at a node, and return when it has reported what it saw."""
        ...

    async def upgrade_problems(self, cluster_id: UUID, node: str, version: str) -> UpgradeProblems:
        """Return what is in the way of a node's upgrade to a major version."""
        ...

    async def migration_check(
        self, cluster_id: UUID, node: str, question: MigrationQuestion
    ) -> MigrationCheck:
        """Look at a source from a node's host; Unavailable when that takes too long."""
        ...

    async def server(self, cluster_id: UUID, node: str) -> ServerNumbers:
        """Return the statistics of a node's server; Unavailable when it does not answer."""
        ...

    async def logs(
        self, cluster_id: UUID, node: str, source: LogSource, count: int, cursor: str, wanted: LogFilter = ALL
    ) -> LogPage:
        """Return the newest messages of a server; with the cursor of an earlier page, only those after it.

        Only those that are wanted are returned; not all of a large log is searched for them.
        """
        ...

    async def sinks(self, cluster_id: UUID, node: str) -> Mapping[UUID, SinkStatus]:
        """Return the delivery status of a cluster's log sinks; a new one may be missing."""
        ...

    async def history(self, cluster_id: UUID, node: str, minutes: int) -> HistoryTables:
        """Return the history of a node's pools; samples alone for up to ``SAMPLED_MINUTES``."""
        ...

    def samples(self, cluster_id: UUID, node: str, after: float) -> AsyncGenerator[Samples, None]:
        """Follow a node's pools, which are sampled more often meanwhile.

        Begins with the samples after a Unix time, as far as they are kept; with 0, with those of the last
        seconds.  The first answer comes at once, each further one within a few seconds.  Ends without an
        error only when this process is shutting down.
        """
        ...

    async def is_own(self, cluster_id: UUID, node: str, address: Address) -> bool:
        """Return whether an address is one of the node's host."""
        ...

    async def agent(self, host_id: str = "") -> AgentNumbers:
        """Return the statistics of a host's agent, by default of this host's."""
        ...


class Archives(Protocol):
    """What the repositories of hosts have; Unavailable, in words, where that cannot be read."""

    async def archived(self, cluster_id: UUID, host_id: str) -> Archived: ...


class _NoArchives:
    async def archived(self, cluster_id: UUID, host_id: str) -> Archived:
        raise Unavailable("This service has no host.")


NO_ARCHIVES: Archives = _NoArchives()


class HostKeys(Protocol):
    """The key ring ``host`` as the agents of hosts have it; Unavailable if one does not answer."""

    async def add_host_key(self, host_id: str, line: str) -> None:
        """Add the key of a line of the ring's file, which is on disk then; it may be there already."""
        ...

    async def keep_host_keys(self, host_id: str, ids: Collection[str]) -> None:
        """Remove all other keys."""
        ...


class _NoHostKeys:
    async def add_host_key(self, host_id: str, line: str) -> None:
        raise Unavailable("This service has no host.")

    async def keep_host_keys(self, host_id: str, ids: Collection[str]) -> None:
        raise Unavailable("This service has no host.")


NO_HOST_KEYS: HostKeys = _NoHostKeys()


class _NoObserver:
    """For an API without hosts, as in tests: nothing can be read."""

    async def pools(self, cluster_id: UUID, node: str) -> Mapping[str, PoolNumbers]:
        raise Unavailable("This service cannot reach the pooler.")

    async def outdated_connections(self, cluster_id: UUID, node: str) -> Mapping[str, int]:
        raise Unavailable("This service cannot reach the pooler.")

    async def look_again(self, cluster_id: UUID, node: str) -> None:
        raise Unavailable("This service cannot reach the server.")

    async def migration_check(
        self, cluster_id: UUID, node: str, question: MigrationQuestion
    ) -> MigrationCheck:
        raise Unavailable("This service cannot reach the server.")

    async def upgrade_problems(self, cluster_id: UUID, node: str, version: str) -> UpgradeProblems:
        raise Unavailable("This service cannot reach the server.")

    async def server(self, cluster_id: UUID, node: str) -> ServerNumbers:
        raise Unavailable("This service cannot reach the server.")

    async def logs(
        self, cluster_id: UUID, node: str, source: LogSource, count: int, cursor: str, wanted: LogFilter = ALL
    ) -> LogPage:
        raise Unavailable("This service cannot read the logs.")

    async def sinks(self, cluster_id: UUID, node: str) -> Mapping[UUID, SinkStatus]:
        raise Unavailable("This service has no host.")

    async def history(self, cluster_id: UUID, node: str, minutes: int) -> HistoryTables:
        raise Unavailable("This service has no host.")

    def samples(self, cluster_id: UUID, node: str, after: float) -> AsyncGenerator[Samples, None]:
        raise Unavailable("This service has no host.")

    async def is_own(self, cluster_id: UUID, node: str, address: Address) -> bool:
        return False

    async def agent(self, host_id: str = "") -> AgentNumbers:
        raise Unavailable("This service has no host.")


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
