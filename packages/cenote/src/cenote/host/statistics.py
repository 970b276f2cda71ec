"""Statistics of a PostgreSQL server, at a cost that does not grow with its tables.

One connection queries the statistics that the server holds in memory.  The sizes of databases are measured at
longer intervals, since PostgreSQL looks at every file for them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from cenote.conf.hba import SUPERUSER
from cenote.errors import CenoteError
from cenote.host import files
from cenote.host.sql import Session
from cenote.model import catalog
from cenote.model.paths import Layout
from cenote.model.records import Cluster, Node
from cenote.rules import configuration
from cenote.security import certificates
from cenote.security.certificates import Validity
from cenote.stats.observer import DatabaseNumbers, ServerNumbers, SlotNumbers

STATEMENT_SECONDS = 3  # Prometheus gives up a scrape after 10
MEASURE_EVERY = 60.0  # seconds
FORGET_AFTER = 3600.0  # seconds without a request for them
MEASURE_SHARE = 20  # measurements are at least this many times their duration apart

_SERVER = """
SELECT extract(epoch FROM pg_postmaster_start_time())::float8,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                            ELSE pg_current_wal_lsn() END, '0/0')::int8,
       CASE WHEN pg_is_in_recovery() THEN (SELECT received_tli FROM pg_stat_wal_receiver)
            ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int4 END
"""
# 10 is the OID of the superuser that initdb creates, as which Cenote connects.
_CLIENTS = """
SELECT coalesce(state, 'starting'), count(*),
       coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8,
       count(*) FILTER (WHERE wait_event_type = 'Lock')
FROM pg_stat_activity WHERE backend_type = 'client backend' AND usesysid IS DISTINCT FROM 10 GROUP BY 1
"""
_SLOTS = """
SELECT slot_name, active, greatest(0, pg_wal_lsn_diff(
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
           restart_lsn))::int8
FROM pg_replication_slots WHERE restart_lsn IS NOT NULL
"""
_DATABASES = """
SELECT datname, numbackends, age(datfrozenxid), xact_commit, xact_rollback, blks_hit, blks_read,
       blk_read_time / 1000, blk_write_time / 1000, tup_returned, tup_fetched, tup_inserted, tup_updated,
       tup_deleted, conflicts, deadlocks, temp_files, temp_bytes
FROM pg_database JOIN pg_stat_database USING (datname)
WHERE datname NOT IN ('postgres', 'template0', 'template1')
"""
_SIZES = """
SELECT datname, pg_database_size(oid)
FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')
"""

_DATABASE_FIELDS = (
    *("name", "connections", "transaction_id_age", "commits", "rollbacks", "blocks_hit", "blocks_read"),
    *("block_read_seconds", "block_write_seconds", "rows_returned", "rows_fetched", "rows_inserted"),
    *("rows_updated", "rows_deleted", "conflicts", "deadlocks", "temporary_files", "temporary_bytes"),
)


@dataclass(frozen=True, slots=True)
class _DatabaseSizes:
    """The sizes of a cluster's databases, and when to measure them again."""

    sizes: dict[str, int] = field(default_factory=dict)
    next_at: float = 0.0


class ServerStatistics:
    """Reads the statistics of the servers of this host, and caches the sizes of their databases."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._sizes_by_cluster: dict[UUID, _DatabaseSizes] = {}

    async def read(self, cluster: Cluster, node: Node) -> ServerNumbers:
        """Return the statistics of a node's server; CenoteError when it does not answer."""
        cluster_id = cluster.id
        async with self._session(cluster_id, node) as session:
            [(started_at, wal_bytes, timeline)] = await session.rows(SUPERUSER, _SERVER)
            clients = await session.rows(SUPERUSER, _CLIENTS)
            slots = await session.rows(SUPERUSER, _SLOTS)
            databases = await session.rows(SUPERUSER, _DATABASES)
            sizes = await self._sizes(cluster_id, session)
        validity = self._certificate_validity(cluster_id)
        return ServerNumbers(
            started_at=started_at,
            certificate_expires_at=None if validity is None else validity.ends.timestamp(),
            certificate_valid=None if validity is None else validity.covers(datetime.now(UTC)),
            connections={state: count for state, count, _, _ in clients},
            connections_allowed=configuration.max_connections(cluster) - catalog.RESERVED_CONNECTIONS,
            longest_transaction=max((longest for _, _, longest, _ in clients), default=0.0),
            waiting_for_locks=sum(waiting for _, _, _, waiting in clients),
            wal_bytes=wal_bytes,
            timeline=timeline,
            slots=tuple(
                SlotNumbers(name=name, active=active, retained_bytes=retained)
                for name, active, retained in slots
            ),
            databases=tuple(
                msgspec.convert(dict(zip(_DATABASE_FIELDS, row, strict=True)), DatabaseNumbers)
                for row in databases
            ),
            sizes=sizes,
        )

    def _certificate_validity(self, id: UUID) -> Validity | None:
        content = files.read(self._layout.cluster(id).certificate)
        try:
            return None if not content else certificates.chain_validity(content)
        except ValueError:
            return None

    async def _sizes(self, id: UUID, session: Session) -> dict[str, int]:
        """Return the sizes of the databases; the last known ones if measuring fails or takes too long."""
        now = asyncio.get_running_loop().time
        known, began = self._sizes_by_cluster.get(id, _DatabaseSizes()), now()
        if began < known.next_at:
            return known.sizes
        sizes = known.sizes
        with contextlib.suppress(CenoteError):  # such as for a database dropped meanwhile
            sizes = {name: size for name, size in await session.rows(SUPERUSER, _SIZES) if size is not None}
        took = now() - began
        self._sizes_by_cluster = {
            one: it for one, it in self._sizes_by_cluster.items() if it.next_at > began - FORGET_AFTER
        }
        self._sizes_by_cluster[id] = _DatabaseSizes(sizes, began + max(MEASURE_EVERY, MEASURE_SHARE * took))
        return sizes

    @asynccontextmanager
    async def _session(self, cluster_id: UUID, node: Node) -> AsyncIterator[Session]:
        sockets = self._layout.cluster(cluster_id).sockets
        session = Session(sockets, node.port, node.pool_port, STATEMENT_SECONDS)
        try:
            yield session
        finally:
            await session.close()
