"""The metrics of the nodes of a cluster on a host: servers, databases, pooler, pools and storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cenote.metrics import migration_metrics
from cenote.metrics.exposition import Family, Kind, Page
from cenote.model.records import Cluster
from cenote.model.status_records import NodeStatus, Standby, UpgradeReport
from cenote.model.topology import has_standbys
from cenote.rules import configuration
from cenote.stats.observer import DatabaseNumbers, PoolNumbers, ServerNumbers

_MIB = 2**20


def _counter(name: str, help: str, *labels: str) -> Family:
    return Family(f"cenote_{name}", Kind.COUNTER, help, labels)


def _gauge(name: str, help: str, *labels: str) -> Family:
    return Family(f"cenote_{name}", Kind.GAUGE, help, labels)


CLUSTER = _gauge(
    "cluster_info", "Version, size and region of the cluster; always 1.", "id", "version", "size", "region"
)
FAILING = _gauge("cluster_failing", "Whether the agent fails to apply the cluster's configuration.")
CERTIFICATE = _gauge(
    "cluster_certificate_expiry_timestamp_seconds",
    "When the certificate of the cluster's servers expires, or that of its CA.",
)
CERTIFICATE_VALID = _gauge(
    "cluster_certificate_valid", "Whether the certificates of the cluster's servers and its CA are valid now."
)
STORAGE_USED = _gauge("storage_used_bytes", "Storage in use, as last measured by the agent.")
STORAGE_SIZE = _gauge("storage_size_bytes", "Storage allocated to the cluster.")

PRIMARY = _gauge("node_primary", "Whether the node takes writes, of a cluster with several nodes.")
STANDBYS_MISSING = _gauge(
    "standbys_missing", "Standbys that do not follow the primary, of a cluster with several nodes."
)
QUORUM = _gauge(
    "quorum_standbys",
    "Standbys of which each commit waits for one; 0: commits wait for none, and can be lost.",
)
LAG_BYTES = _gauge("standby_lag_bytes", "Write-ahead log that a standby has not replayed, as last reported.")
LAG_SECONDS = _gauge(
    "standby_lag_seconds", "Age of what a standby has replayed last, as last reported; 0 if it lacks nothing."
)

HELD = _gauge(
    "pools_held_seconds",
    "For how long the last switch or failover has held the clients of pools on the node's host.",
)
MAJOR_UPGRADE = _gauge(
    "major_upgrade",
    "1 while the node is upgraded to another major version; the stage is how far that is.",
    "stage",
)
MAJOR_UPGRADE_FAILED = _gauge(
    "major_upgrade_failed", "Whether the last upgrade of the node to another major version was not made."
)
MAJOR_UPGRADE_HELD = _gauge(
    "major_upgrade_held_seconds", "For how long the node had no server in its last upgrade; 0 without one."
)
REPLICA_STREAMING = _gauge(
    "replica_streaming", "Whether a read replica follows its source closely, as last reported."
)
REPLICA_LAG_BYTES = _gauge(
    "replica_lag_bytes",
    "Write-ahead log of its source that a read replica has not replayed, as last reported.",
)
REPLICA_LAG_SECONDS = _gauge(
    "replica_lag_seconds",
    "Age of what a read replica has replayed last, as last reported; 0 if it lacks nothing.",
)

SERVER_UP = _gauge("server_up", "Whether PostgreSQL answered this scrape.")
SERVER_STARTED = _gauge("server_start_time_seconds", "When PostgreSQL was started.")
TIMELINE = _gauge(
    "server_timeline", "Timeline of PostgreSQL's write-ahead log; each failover and each switch counts it up."
)
CONNECTIONS = _gauge(
    "server_connections", "Client connections of PostgreSQL by state, including pools'.", "state"
)
CONNECTIONS_ALLOWED = _gauge("server_connections_allowed", "Maximum client connections of PostgreSQL.")
LONGEST_TRANSACTION = _gauge(
    "server_longest_transaction_seconds", "Age of the oldest open transaction of a client."
)
LOCKS_WAITED_FOR = _gauge("server_connections_waiting_for_locks", "Client connections waiting for a lock.")
WAL = _counter("server_wal_bytes_total", "Write-ahead log (WAL) written.")
SLOT_RETAINED = _gauge(
    "server_replication_slot_retained_bytes", "WAL retained by a replication slot.", "slot"
)
SLOT_ACTIVE = _gauge("server_replication_slot_active", "Whether a replication slot is being read.", "slot")

DATABASE_SIZE = _gauge(
    "database_size_bytes", "Size of a database, measured at most once a minute.", "database"
)
DATABASE_CONNECTIONS = _gauge(
    "database_connections", "Connections to a database, including Cenote's own.", "database"
)
DATABASE_AGE = _gauge(
    "database_transaction_id_age",
    "Age of a database's oldest unfrozen transaction ID, in transactions.",
    "database",
)
_DATABASE_COUNTERS = {
    "commits": "Transactions committed.",
    "rollbacks": "Transactions rolled back.",
    "blocks_hit": "Blocks found in the buffer cache.",
    "blocks_read": "Blocks read because they were not in the buffer cache.",
    "block_read_seconds": "Time spent reading blocks, if track_io_timing is on.",
    "block_write_seconds": "Time spent writing blocks, if track_io_timing is on.",
    "rows_returned": "Rows read by scans.",
    "rows_fetched": "Rows fetched by index scans.",
    "rows_inserted": "Rows inserted.",
    "rows_updated": "Rows updated.",
    "rows_deleted": "Rows deleted.",
    "conflicts": "Queries canceled due to conflicts with recovery.",
    "deadlocks": "Deadlocks detected.",
    "temporary_files": "Temporary files created by queries.",
    "temporary_bytes": "Bytes written to temporary files.",
}
DATABASE_COUNTERS = {
    field: _counter(f"database_{field}_total", help, "database") for field, help in _DATABASE_COUNTERS.items()
}

POOLER_UP = _gauge("pooler_up", "Whether PgBouncer answered this scrape.")
POOLER_CAPACITY = _gauge("pooler_servers_allowed", "Maximum server connections of all pools together.")
POOL_SIZE = _gauge("pool_size", "Maximum server connections of a pool.", "pool")
POOL_CLIENTS = _gauge(
    "pool_clients", "Client connections of a pool by state: active or waiting.", "pool", "state"
)
POOL_SERVERS = _gauge(
    "pool_servers", "Server connections of a pool by state: active, idle or connecting.", "pool", "state"
)
POOL_LONGEST_WAIT = _gauge(
    "pool_longest_wait_seconds", "Wait of the client that is first in a pool's queue.", "pool"
)
_POOL_COUNTERS = {
    "transactions": ("transactions", "Transactions pooled."),
    "queries": ("queries", "Queries pooled."),
    "transaction_seconds": ("in_transactions", "Time that server connections spent in transactions."),
    "query_seconds": ("in_queries", "Time that server connections spent executing queries."),
    "wait_seconds": ("waited", "Time that clients spent waiting for a server connection."),
    "received_bytes": ("received_bytes", "Bytes received from clients."),
    "sent_bytes": ("sent_bytes", "Bytes sent to clients."),
}
POOL_COUNTERS = {
    field: _counter(f"pool_{name}_total", help, "pool") for name, (field, help) in _POOL_COUNTERS.items()
}

_NO_UPGRADE = UpgradeReport(asked_at=datetime.min)

FAMILIES = (
    *(CLUSTER, FAILING, CERTIFICATE, CERTIFICATE_VALID, STORAGE_USED, STORAGE_SIZE),
    *(PRIMARY, STANDBYS_MISSING, QUORUM, LAG_BYTES, LAG_SECONDS, HELD),
    *(MAJOR_UPGRADE, MAJOR_UPGRADE_FAILED, MAJOR_UPGRADE_HELD),
    *(REPLICA_STREAMING, REPLICA_LAG_BYTES, REPLICA_LAG_SECONDS),
    *migration_metrics.FAMILIES,
    *(
        SERVER_UP,
        SERVER_STARTED,
        TIMELINE,
        CONNECTIONS,
        CONNECTIONS_ALLOWED,
        LONGEST_TRANSACTION,
        LOCKS_WAITED_FOR,
    ),
    *(WAL, SLOT_RETAINED, SLOT_ACTIVE),
    *(DATABASE_SIZE, DATABASE_CONNECTIONS, DATABASE_AGE, *DATABASE_COUNTERS.values()),
    *(POOLER_UP, POOLER_CAPACITY, POOL_SIZE, POOL_CLIENTS, POOL_SERVERS, POOL_LONGEST_WAIT),
    *POOL_COUNTERS.values(),
)


@dataclass(frozen=True, slots=True)
class ClusterNumbers:
    """The numbers that a scrape reads of a node; None for a source that did not answer.

    ``host`` is the name of the node's host, ``leader`` of the node that takes writes.  Nodes that share a
    host share a pooler: that has its ``pools`` with the first of them alone, which ``has_pooler``.
    """

    host: str
    node: str
    status: NodeStatus | None
    certificate_expires_at: float | None  # Unix time
    server: ServerNumbers | None
    pools: Mapping[str, PoolNumbers] | None
    certificate_valid: bool | None = None
    leader: str | None = None
    has_pooler: bool = True


def render(cluster: Cluster, full_version: str, nodes: Sequence[ClusterNumbers]) -> bytes:
    """Return the metrics of the nodes of a cluster on one host, at least one."""
    first, *others = (_page(cluster, full_version, numbers) for numbers in nodes)
    for page in others:
        first.join(page)
    return first.render()


def _page(cluster: Cluster, full_version: str, numbers: ClusterNumbers) -> Page:
    page = Page(cluster=cluster.name, host=numbers.host, node=numbers.node)
    info = {"id": str(cluster.id), "version": full_version, "size": cluster.size, "region": cluster.region}
    page.add(CLUSTER, 1, **info)
    if numbers.certificate_expires_at is not None:
        page.add(CERTIFICATE, numbers.certificate_expires_at)
    if numbers.certificate_valid is not None:
        page.add(CERTIFICATE_VALID, numbers.certificate_valid)
    if numbers.status is not None:
        page.add(FAILING, numbers.status.failing)
        page.add(STORAGE_USED, numbers.status.used_mib * _MIB)
        _add_upgrade(page, cluster, numbers.node, numbers.status.major_upgrade or _NO_UPGRADE)
    page.add(STORAGE_SIZE, cluster.storage_mib * _MIB)
    if has_standbys(cluster):
        _add_node(page, cluster, numbers)
    if cluster.replica_of is not None:
        _add_replica(page, numbers.status)
    if not has_standbys(cluster) or numbers.node == numbers.leader:
        migration_metrics.add(page, cluster, numbers.status)
    page.add(SERVER_UP, numbers.server is not None)
    if numbers.server is not None:
        _add_server(page, numbers.server)
    if numbers.has_pooler:
        page.add(POOLER_UP, numbers.pools is not None)
        page.add(POOLER_CAPACITY, configuration.pool_capacity(cluster))
        for pool in cluster.pools:
            page.add(POOL_SIZE, pool.size, pool=pool.name)
        if numbers.pools is not None:
            _add_pools(page, cluster, numbers.pools)
    return page


def _add_node(page: Page, cluster: Cluster, numbers: ClusterNumbers) -> None:
    is_primary, status = numbers.node == numbers.leader, numbers.status
    page.add(PRIMARY, is_primary)
    if status is None:
        return
    if status.led_to:
        page.add(HELD, status.held_ms / 1000)
    if is_primary:
        others = {node.name for node in cluster.nodes} - {numbers.node}
        page.add(STANDBYS_MISSING, len(others.difference(status.followers)))
        page.add(QUORUM, len(status.quorum))
    elif status.standby is not None:
        page.add(LAG_BYTES, status.standby.behind)
        page.add(LAG_SECONDS, _lag_seconds(status.standby))


def _add_upgrade(page: Page, cluster: Cluster, node: str, report: UpgradeReport) -> None:
    mark = cluster.major_upgrade
    if mark is not None:
        is_here = mark.node in ("", node) and report.asked_at == mark.asked_at
        page.add(MAJOR_UPGRADE, 1, stage=report.stage if is_here and report.stage else str(mark.step))
    page.add(MAJOR_UPGRADE_FAILED, bool(report.refused))
    page.add(MAJOR_UPGRADE_HELD, report.held_ms / 1000)


def _add_replica(page: Page, status: NodeStatus | None) -> None:
    standby = None if status is None else status.standby
    page.add(REPLICA_STREAMING, standby is not None and standby.streaming)
    if standby is not None:
        page.add(REPLICA_LAG_BYTES, standby.behind)
        page.add(REPLICA_LAG_SECONDS, _lag_seconds(standby))


def _lag_seconds(standby: Standby) -> float | None:
    """Return the age of what was replayed last; it grows by itself while nothing is written."""
    return standby.seconds if standby.behind or standby.seconds is None else 0


def _add_pools(page: Page, cluster: Cluster, pools: Mapping[str, PoolNumbers]) -> None:
    for pool in cluster.pools:
        _add_pool(page, pool.name, pools.get(pool.name, PoolNumbers()))
    # Each database has a default pool of its name.  Other names that PgBouncer lists were made up by clients.
    for database in cluster.databases:
        if database.name in pools and cluster.pool(database.name) is None:
            _add_pool(page, database.name, pools[database.name])


def _add_server(page: Page, server: ServerNumbers) -> None:
    page.add(SERVER_STARTED, server.started_at)
    page.add(TIMELINE, server.timeline)
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
