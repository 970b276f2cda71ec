"""The metrics of one cluster: its server, its databases, its pooler, its pools, its storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cenote.metrics.text import Family, Kind, Page
from cenote.model.records import Cluster, NodeStatus
from cenote.rules import configuration
from cenote.stats.observer import DatabaseNumbers, PoolNumbers, ServerNumbers

_MIB = 2**20


def _counter(name: str, help: str) -> Family:
    return Family(f"cenote_{name}", Kind.COUNTER, help)


def _gauge(name: str, help: str) -> Family:
    return Family(f"cenote_{name}", Kind.GAUGE, help)


CLUSTER = _gauge("cluster_info", "What the cluster is; always 1.")
FAILING = _gauge("cluster_failing", "Whether the agent cannot carry out what is wanted of the cluster.")
CERTIFICATE = _gauge(
    "cluster_certificate_expiry_timestamp_seconds", "When the certificate that the servers show expires."
)
STORAGE_USED = _gauge("storage_used_bytes", "What the data takes, as the agent last measured it.")
STORAGE_SIZE = _gauge("storage_size_bytes", "What the data may take.")

SERVER_UP = _gauge("server_up", "Whether PostgreSQL answered this scrape.")
SERVER_STARTED = _gauge("server_start_time_seconds", "When PostgreSQL was started.")
CONNECTIONS = _gauge("server_connections", "Client connections of PostgreSQL, pools' among them, by state.")
CONNECTIONS_ALLOWED = _gauge("server_connections_allowed", "Client connections that PostgreSQL takes.")
LONGEST_TRANSACTION = _gauge(
    "server_longest_transaction_seconds", "How long the oldest transaction of a client has been open."
)
LOCKS_WAITED_FOR = _gauge("server_connections_waiting_for_locks", "Client connections that wait for a lock.")
WAL = _counter("server_wal_bytes_total", "Write-ahead log that was ever written.")
SLOT_RETAINED = _gauge(
    "server_replication_slot_retained_bytes", "Write-ahead log that is kept for a replication slot."
)
SLOT_ACTIVE = _gauge("server_replication_slot_active", "Whether somebody reads from a replication slot.")

DATABASE_SIZE = _gauge("database_size_bytes", "Size of a database, measured at most once a minute.")
DATABASE_CONNECTIONS = _gauge("database_connections", "Connections to a database, our own among them.")
DATABASE_AGE = _gauge("database_transaction_id_age", "Transactions since the oldest that is not frozen yet.")
_DATABASE_COUNTERS = {
    "commits": "Transactions committed.",
    "rollbacks": "Transactions rolled back.",
    "blocks_hit": "Blocks that were found in the buffer cache.",
    "blocks_read": "Blocks that had to be read.",
    "block_read_seconds": "Time spent reading blocks, where track_io_timing is on.",
    "block_write_seconds": "Time spent writing blocks, where track_io_timing is on.",
    "rows_returned": "Rows read by scans.",
    "rows_fetched": "Rows fetched by way of an index.",
    "rows_inserted": "Rows inserted.",
    "rows_updated": "Rows updated.",
    "rows_deleted": "Rows deleted.",
    "conflicts": "Queries cancelled because of a conflict with recovery.",
    "deadlocks": "Deadlocks.",
    "temporary_files": "Temporary files that queries made.",
    "temporary_bytes": "Bytes written to temporary files.",
}
DATABASE_COUNTERS = {
    field: _counter(f"database_{field}_total", help) for field, help in _DATABASE_COUNTERS.items()
}

POOLER_UP = _gauge("pooler_up", "Whether PgBouncer answered this scrape.")
POOLER_ROOM = _gauge("pooler_servers_allowed", "Server connections that all pools may have together.")
POOL_SIZE = _gauge("pool_size", "Server connections that a pool may have.")
POOL_CLIENTS = _gauge("pool_clients", "Client connections of a pool, by state: active or waiting.")
POOL_SERVERS = _gauge("pool_servers", "Server connections of a pool, by state: active, idle or connecting.")
POOL_LONGEST_WAIT = _gauge("pool_longest_wait_seconds", "How long the first waiting client has waited.")
_POOL_COUNTERS = {
    "transactions": ("transactions", "Transactions that went through."),
    "queries": ("queries", "Queries that went through."),
    "transaction_seconds": ("in_transactions", "Time that server connections were in a transaction."),
    "query_seconds": ("in_queries", "Time that server connections worked on queries."),
    "wait_seconds": ("waited", "Time that clients waited for a server connection."),
    "received_bytes": ("received_bytes", "Bytes that clients sent."),
    "sent_bytes": ("sent_bytes", "Bytes that were sent to clients."),
}
POOL_COUNTERS = {
    field: _counter(f"pool_{name}_total", help) for name, (field, help) in _POOL_COUNTERS.items()
}

FAMILIES = (
    *(CLUSTER, FAILING, CERTIFICATE, STORAGE_USED, STORAGE_SIZE),
    *(SERVER_UP, SERVER_STARTED, CONNECTIONS, CONNECTIONS_ALLOWED, LONGEST_TRANSACTION, LOCKS_WAITED_FOR),
    *(WAL, SLOT_RETAINED, SLOT_ACTIVE),
    *(DATABASE_SIZE, DATABASE_CONNECTIONS, DATABASE_AGE, *DATABASE_COUNTERS.values()),
    *(POOLER_UP, POOLER_ROOM, POOL_SIZE, POOL_CLIENTS, POOL_SERVERS, POOL_LONGEST_WAIT),
    *POOL_COUNTERS.values(),
)


@dataclass(frozen=True, slots=True)
class Observed:
    """What a scrape has found; None is who did not answer."""

    status: NodeStatus | None
    certificate_expires_at: datetime | None
    server: ServerNumbers | None
    pools: Mapping[str, PoolNumbers] | None


def render(cluster: Cluster, full_version: str, observed: Observed) -> bytes:
    page = Page(cluster=cluster.name)
    about = {"id": str(cluster.id), "version": full_version, "size": cluster.size, "region": cluster.region}
    page.add(CLUSTER, 1, **about)
    if observed.certificate_expires_at is not None:
        page.add(CERTIFICATE, observed.certificate_expires_at.timestamp())
    if observed.status is not None:
        page.add(FAILING, observed.status.failing)
        page.add(STORAGE_USED, observed.status.used_mib * _MIB)
    page.add(STORAGE_SIZE, cluster.storage_mib * _MIB)
    page.add(SERVER_UP, observed.server is not None)
    if observed.server is not None:
        _add_server(page, observed.server)
    page.add(POOLER_UP, observed.pools is not None)
    page.add(POOLER_ROOM, configuration.pool_capacity(cluster))
    for pool in cluster.pools:
        page.add(POOL_SIZE, pool.size, pool=pool.name)
        if observed.pools is not None:
            _add_pool(page, pool.name, observed.pools.get(pool.name, PoolNumbers()))
    # Where every database has a pool of its own accord; PgBouncer may know further names, of clients' making.
    for database in cluster.databases:
        if observed.pools is not None and cluster.pool(database.name) is None:
            numbers = observed.pools.get(database.name)
            if numbers is not None:
                _add_pool(page, database.name, numbers)
    return page.render()


def _add_server(page: Page, server: ServerNumbers) -> None:
    page.add(SERVER_STARTED, server.started_at)
    for state, count in server.connections.items():
        page.add(CONNECTIONS, count, state=state)
    page.add(CONNECTIONS_ALLOWED, server.connections_allowed)
    page.add(LONGEST_TRANSACTION, server.longest_transaction)
    page.add(LOCKS_WAITED_FOR, server.waiting_for_locks)
    page.add(WAL, server.wal_bytes)
    for slot in server.slots:
        page.add(SLOT_RETAINED, slot.retained_bytes, slot=slot.name)
        page.add(SLOT_ACTIVE, slot.active, slot=slot.name)
    for database in server.databases:
        _add_database(page, database, server.sizes.get(database.name))


def _add_database(page: Page, numbers: DatabaseNumbers, size: int | None) -> None:
    page.add(DATABASE_SIZE, size, database=numbers.name)
    page.add(DATABASE_CONNECTIONS, numbers.connections, database=numbers.name)
    page.add(DATABASE_AGE, numbers.transaction_id_age, database=numbers.name)
    for field, family in DATABASE_COUNTERS.items():
        page.add(family, getattr(numbers, field), database=numbers.name)


def _add_pool(page: Page, name: str, numbers: PoolNumbers) -> None:
    page.add(POOL_CLIENTS, numbers.clients_active, pool=name, state="active")
    page.add(POOL_CLIENTS, numbers.clients_waiting, pool=name, state="waiting")
    page.add(POOL_SERVERS, numbers.servers_active, pool=name, state="active")
    page.add(POOL_SERVERS, numbers.servers_idle, pool=name, state="idle")
    page.add(POOL_SERVERS, numbers.servers_connecting, pool=name, state="connecting")
    page.add(POOL_LONGEST_WAIT, numbers.longest_wait, pool=name)
    for field, family in POOL_COUNTERS.items():
        page.add(family, getattr(numbers, field), pool=name)
