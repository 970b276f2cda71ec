"""What all nodes of a cluster know of its backups, since another one may take writes next.  Pure.

The node that takes writes makes the backups, so it alone knows when WAL was lost; and a node that has just
been promoted has not asked the repository yet.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec.structs import replace

from cenote.model.backups import BackupReport
from cenote.model.records import BackupPlan, Cluster
from cenote.model.status_records import NodeStatus
from cenote.model.topology import has_standbys
from cenote.rules import backup_schedule


def of_writer(reports: Mapping[str, NodeStatus], writer: str) -> BackupReport | None:
    """Return what the writer's agent knows, with the backups that another node's has seen if these are newer.

    None if no node's agent has told anything.
    """
    known = {name: report.backups for name, report in reports.items() if report.backups is not None}
    if not known:
        return None
    own = known.get(writer, BackupReport())
    newest = max(known.values(), key=_newest)
    if _newest(newest) <= _newest(own):
        newest = own
    seen = replace(own, backups=newest.backups, repository=newest.repository, drill=newest.drill)
    for other in known.values():
        seen = backup_schedule.with_losses(seen, backup_schedule.losses(other))
    return seen


def elsewhere(cluster: Cluster, node: str, leader: str | None) -> str:
    """Return in words that the ``leader``, another node, makes the backups; "" while that is not known."""
    if not has_standbys(cluster) or leader in (None, node):
        return ""
    return f"{leader} takes writes now, and makes the backups"


def at_rest(report: BackupReport) -> BackupReport:
    """Return what stays of a report when its node does not take writes any more."""
    return BackupReport(
        backups=report.backups,
        gap_at=report.gap_at,
        losses=report.losses,
        archive_bytes=report.archive_bytes,
        repository=report.repository,
        drill=report.drill,
    )


def with_losses(cluster: Cluster, reports: Mapping[str, NodeStatus], leader: str | None) -> Cluster:
    """Return a cluster with the losses of WAL that nodes which take no writes have told, else the same.

    The ``leader`` tells its own.  What is older than all backups is forgotten.
    """
    plan = cluster.backups
    if plan is None or leader is None or not has_standbys(cluster):
        return cluster
    seen = _told(plan, reports, {name for name in reports if name != leader})
    if seen.losses == plan.losses:
        return cluster
    return replace(cluster, backups=replace(plan, losses=seen.losses))


def with_every_loss(cluster: Cluster, reports: Mapping[str, NodeStatus], *, read: bool) -> Cluster:
    """Return a cluster with what its nodes have lost of the WAL, whose reports will not be there any more.

    ``read``: every host knows of several losses; else of the last time alone.
    """
    plan = cluster.backups
    if plan is None:
        return cluster
    seen = _told(plan, reports, reports.keys())
    if read:
        plan = replace(plan, losses=seen.losses)
    else:
        plan = replace(plan, gap_at=backup_schedule.latest(plan.gap_at, seen.gap_at))
    return cluster if plan == cluster.backups else replace(cluster, backups=plan)


def _told(plan: BackupPlan, reports: Mapping[str, NodeStatus], meant: Collection[str]) -> BackupReport:
    """Return the newest backups that any node tells of, with losses of the plan and of the nodes meant."""
    known = {name: report.backups for name, report in reports.items() if report.backups is not None}
    seen = replace(max(known.values(), key=_newest, default=BackupReport()), gap_at=None, losses=())
    others = [backup_schedule.losses(report) for name, report in known.items() if name in meant]
    for losses in (plan.losses, *others):
        seen = backup_schedule.with_losses(seen, losses)
    return seen


def _newest(report: BackupReport) -> float:
    return report.backups[-1].stopped_at.timestamp() if report.backups else 0.0
