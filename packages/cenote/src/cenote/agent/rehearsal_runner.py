"""Looks at the forks that upgrades are rehearsed on: before they are upgraded, and after that.

Beside the passes, one at a time and with the lowest priority, since reading all data may take long.  What was
seen before stands in the report, so one that was killed in the middle begins that look again.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from cenote.agent.node_pass import session_of
from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import HostContext, NodeContext
from cenote.errors import CenoteError
from cenote.host.backup_program import run_idle
from cenote.host.processes import Account
from cenote.host.sql import Session
from cenote.model.records import Cluster
from cenote.model.status_records import NodeStatus, RehearsalReport
from cenote.rules import rehearsals
from cenote.store.encoding import NewerFormat
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_RETRY_SECONDS = 10.0
_QUERY_SECONDS = 3600
_LINES = 10  # of what pg_amcheck says
_DATABASES = "SELECT datname FROM pg_database WHERE datallowconn AND datname !~ '^template' ORDER BY 1"
_OWN = "oid >= 16384"
_NAMESPACES = "(SELECT oid FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$|cenote$)')"
_NO_MEMBER = (
    "NOT EXISTS (SELECT FROM pg_depend WHERE classid = one.tableoid AND objid = one.oid AND deptype = 'e')"
)
# What owners have made.  What belongs to PostgreSQL or to an extension differs from version to version.
_COUNTED = {
    "tables, indexes and sequences": "pg_class AS one"
    f" WHERE {_OWN} AND relnamespace IN {_NAMESPACES} AND {_NO_MEMBER}",
    "functions": f"pg_proc AS one WHERE {_OWN} AND pronamespace IN {_NAMESPACES} AND {_NO_MEMBER}",
    "constraints": f"pg_constraint WHERE {_OWN} AND connamespace IN {_NAMESPACES} AND contype <> 'n'",
    "triggers": "pg_trigger WHERE NOT tgisinternal",
    "extensions": "pg_extension WHERE extname <> 'amcheck'",
    "large objects": "pg_largeobject_metadata",
}
_ROLES = f"pg_roles WHERE {_OWN}"
_INVALID = """
SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid AND indexrelid >= 16384
ORDER BY 1 LIMIT 5
"""


class RehearsalRunner:
    """Looks at the forks of one host."""

    def __init__(self, store: HostStore, context: HostContext) -> None:
        self._store, self._context = store, context

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            pause = _POLL_SECONDS
            for context in self._contexts():
                try:
                    await self._look(context)
                except (CenoteError, OSError) as error:
                    pause = _RETRY_SECONDS
                    log.warning("cluster %s: rehearsal: %s", context.in_words, error)
                except Exception:
                    pause = _RETRY_SECONDS
                    log.exception("cluster %s: rehearsal: a defect in Cenote", context.in_words)
            await asyncio.sleep(pause)

    def _contexts(self) -> list[NodeContext]:
        """Return the forks of this host whose servers can be looked at now."""
        return [context for cluster in self._store.living_clusters() for context in self._context_of(cluster)]

    def _context_of(self, cluster: Cluster) -> list[NodeContext]:
        if cluster.rehearsal_of is None or cluster.major_upgrade or cluster.restoration:
            return []
        [node] = cluster.nodes[:1]
        status = self._store.status(cluster.id, node.name)
        if node.host != self._store.host_id or status is None or not _is_due(cluster, status):
            return []
        return [NodeContext(cluster, node, self._context, data_version=status.data_version)]

    async def _look(self, context: NodeContext) -> None:
        status = self._store.status(context.cluster.id, context.node.name)
        before = None if status is None else status.rehearsal
        session = session_of(context, _QUERY_SECONDS * 1000)
        try:
            counts = await _counts(session)
            if before is None:
                report = RehearsalReport(version=context.version, counts=counts)
            else:
                findings = rehearsals.differences(before.counts, counts)
                findings += await _invalid_indexes(session)
                findings += await self._damage(context)
                report = RehearsalReport(
                    version=context.version, counts=counts, is_checked=True, findings=tuple(findings)
                )
        finally:
            await session.close()
        await self._store_report(context, report)

    async def _store_report(self, context: NodeContext, report: RehearsalReport) -> None:
        try:
            stored = self._store.cluster(context.cluster.id)
        except NewerFormat:
            return
        if stored is not None and stored.value.deleted_at is None:
            await self._store.rehearsed(context.cluster.id, context.node.name, report)

    async def _damage(self, context: NodeContext) -> list[str]:
        """Return what ``pg_amcheck`` finds in all databases, in its words."""
        uid, gid = self._context.server_ids or (None, None)
        account, paths = Account(self._context.server_user, uid, gid), context.cluster_paths
        argv = [
            str(context.server_binaries / "pg_amcheck"),
            *("--host", str(paths.sockets), "--port", str(context.node.port), "--username", SUPERUSER),
            *("--no-password", "--all", "--install-missing", "--heapallindexed"),
        ]
        done = await run_idle(argv, Path(paths.sockets), account, None)
        if done.code == 0:
            return []
        text = (done.output + b"\n" + done.errors).decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return [f"pg_amcheck: {line}" for line in lines[:_LINES]] or [
            f"pg_amcheck has ended with {done.code}"
        ]


def _is_due(cluster: Cluster, status: NodeStatus) -> bool:
    """Return whether a fork is to be looked at: once before its upgrade, and once after it."""
    if not status.reached or not status.data_version or status.data_version != cluster.version:
        return False
    seen = status.rehearsal
    return seen is None or (not seen.is_checked and seen.version != status.data_version)


async def _counts(session: Session) -> dict[str, int]:
    found = {"roles": await _count(session, SUPERUSER, _ROLES)}
    for [database] in await session.rows(SUPERUSER, _DATABASES):
        for what, rows in _COUNTED.items():
            found[f"{what} of database {database}"] = await _count(session, database, rows)
    return found


async def _count(session: Session, database: str, rows: str) -> int:
    [(count,)] = await session.rows(database, f"SELECT count(*) FROM {rows}")  # noqa: S608 - ours
    return int(count)


async def _invalid_indexes(session: Session) -> list[str]:
    return [
        f"index {name} of database {database} is invalid: REINDEX it"
        for [database] in await session.rows(SUPERUSER, _DATABASES)
        for [name] in await session.rows(database, _INVALID)
    ]
