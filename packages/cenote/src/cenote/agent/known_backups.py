"""What the agent of a host knows of the backups of its clusters, and tells in its reports."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from cenote.engine.plan.context import HostContext, NodeContext, NodeKind
from cenote.host import files
from cenote.model.backups import BackupReport
from cenote.model.records import Cluster
from cenote.rules import backup_schedule, cluster_backups
from cenote.store.encoding import NewerFormat
from cenote.store.host_store import HostStore

# How often what is shown of archiving is written, while nothing else changes: each write is one of etcd.
ARCHIVED_STEP = timedelta(minutes=5)


@dataclass(slots=True)
class Known:
    """What this process knows of a cluster's backups; times are monotonic.

    ``is_read``: the repository was asked since the start, or since the last failure.  ``had_failed``: the
    archive script had left a failure at the last look.  ``busy``: attempts on end that found another
    pgBackRest at work.  ``drill_at``: when a drill that came to no result is tried again.
    """

    node: str
    report: BackupReport
    written: BackupReport | None = None
    is_read: bool = False
    had_failed: bool = False
    busy: int = 0
    version: str = ""  # of the data when it was asked
    asked_at: datetime | None = None
    look_at: float = 0.0
    ask_at: float = 0.0
    try_at: float = 0.0
    backoff: float = 0.0
    drill_at: float = 0.0
    drill_asked_at: datetime | None = None

    def try_now(self) -> None:
        """Have the next attempt at once, whatever failed before."""
        self.try_at = self.backoff = 0.0


class KnownBackups:
    def __init__(self, store: HostStore, context: HostContext) -> None:
        self._store, self._context = store, context
        self._known: dict[UUID, Known] = {}

    def contexts(self) -> list[NodeContext]:
        """Return the nodes of this host that take writes, have been online and are to be backed up."""
        return [context for cluster in self._store.living_clusters() for context in self._context_of(cluster)]

    def context_now(self, id: UUID) -> NodeContext | None:
        """Return the node of a cluster as it is by now, None if it is none of these any more."""
        with contextlib.suppress(NewerFormat):
            stored = self._store.cluster(id)
            if stored is not None and stored.value.deleted_at is None:
                return next(iter(self._context_of(stored.value)), None)
        return None

    def _context_of(self, cluster: Cluster) -> list[NodeContext]:
        with contextlib.suppress(NewerFormat):
            for node in cluster.nodes:
                if node.host != self._store.host_id or cluster.backups is None:
                    continue
                status = self._store.status(cluster.id, node.name)
                version = "" if status is None else status.data_version
                leader = self._store.leader(cluster)
                context = NodeContext(cluster, node, self._context, leader=leader, data_version=version)
                if NodeKind.WRITER in context.kinds and status is not None and status.reached > 0:
                    return [context]
        return []

    def of(self, context: NodeContext) -> Known:
        """Return what is known of a cluster, at first what the last report says."""
        known = self._known.get(context.cluster.id)
        if known is None or known.node != context.node.name:
            status = self._store.status(context.cluster.id, context.node.name)
            former = (status.backups if status is not None else None) or BackupReport()
            plan = context.cluster.backups
            lost_at = None if plan is None else plan.gap_at
            if lost_at is not None and former.gap_at is not None and lost_at <= former.gap_at:
                lost_at = None  # that is known
            report = backup_schedule.with_loss(former, lost_at)
            report = replace(report, running=None, progress=None, drilling="")
            known = self._known[context.cluster.id] = Known(context.node.name, report, former)
        return known

    async def forget_others(self) -> None:
        """Forget clusters that are not here any more, and what is not so any more of nodes that stand by."""
        there = {context.cluster.id: context.node.name for context in self.contexts()}
        for id in [id for id in self._known if id not in there]:
            del self._known[id]
        for cluster in self._store.living_clusters():
            leader = self._store.leader(cluster)
            for node in cluster.nodes if leader is not None else ():
                if node.host == self._store.host_id and node.name not in (leader, there.get(cluster.id)):
                    await self._rest(cluster.id, node.name)

    async def _rest(self, id: UUID, node: str) -> None:
        status = self._store.status(id, node)
        told = None if status is None else status.backups
        if told is not None and told != (rests := cluster_backups.at_rest(told)):
            await self._store.backed_up(id, node, rests)

    async def write(self, context: NodeContext, known: Known) -> None:
        """Write what is known, unless nothing is new but that WAL goes on being archived."""
        report, written = known.report, known.written
        if written is not None and report.archived_at is not None and written.archived_at is not None:
            is_small = report.archived_at - written.archived_at < ARCHIVED_STEP
            if is_small and replace(report, archived_at=written.archived_at) == written:
                return
        if report != written:
            known.written = report
            await self._store.backed_up(context.cluster.id, context.node.name, report)


def is_configured(context: NodeContext) -> bool:
    """Return whether a pass has written what pgBackRest needs."""
    paths = context.cluster_paths
    is_written = files.mode_of_file(paths.backup_configuration) is not None
    return is_written and files.mode_of(paths.backup_state) is not None
