"""The backups of a cluster: which there are, and one beside the schedule."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from cenote.api import drills, paging
from cenote.api.auth import READ, UPDATE
from cenote.api.call import Call
from cenote.api.operation import answer, operation
from cenote.api.service import Service
from cenote.errors import Busy, Invalid
from cenote.http.routing import Response
from cenote.model.backups import Backup, BackupReport, BackupType
from cenote.model.records import Cluster
from cenote.model.topology import Health
from cenote.rules import archiving, backup_schedule, backup_window, replicas
from cenote.rules import drills as drill_rules
from cenote.rules.backup_window import Span, Window

PATH = "/v2/databases/{database_cluster_uuid}/backups"
_NONE_YET = "This cluster has no backup yet"
_GIGABYTE = 1e9


class BackupDetailsView(msgspec.Struct):
    """An extension of Cenote: ``type`` is full, diff or incr; sizes are in bytes.

    ``size`` is that of the database, ``repository_size`` what this backup added to the repository.
    ``damaged``: it has pages whose checksums are wrong.
    """

    label: str
    type: BackupType
    started_at: datetime
    duration_seconds: int
    size: int
    repository_size: int
    damaged: bool


class BackupView(msgspec.Struct):
    """A backup; ``created_at`` is the first moment that it can restore."""

    created_at: datetime
    size_gigabytes: float
    incremental: bool
    cenote: BackupDetailsView


class ScheduleView(msgspec.Struct):
    """When backups are made, in UTC."""

    backup_hour: int
    backup_minute: int
    backup_interval_hours: int


class RestorableView(msgspec.Struct):
    """Any second from ``since`` to ``until`` can be restored."""

    since: datetime
    until: datetime


class BackupsView(msgspec.Struct):
    """An extension of Cenote: the repository, and what of it can be restored.

    ``warning`` says why what is kept is no backup of the host, such as on the disk of the data; else "".
    ``count`` is how many backups there are, ``last_at`` when the newest was complete.  ``restorable_from`` is
    the oldest moment that can be, ``restorable`` has all of them, in pieces if WAL was lost: at ``gap_at``
    for the last time, with what was not archived by then.  ``archived_at`` is when WAL was archived last, to
    a few minutes.  ``unarchived`` is why it is not archived now, ``failure`` why the last backup failed, each
    "" if all is well; ``impossible`` is why none can be made at all.  ``running`` is the type of the one that
    is being made, ``progress`` how much of it in percent, where that is known; ``asked_at`` is when one was
    asked for whose turn has not come.  ``drill`` is the last restore drill, ``drilling`` how far the one is
    that is being made, in words, "" for none, ``undrilled`` why the last attempt came to no result.
    """

    repository: str
    days: int
    warning: str
    count: int
    last_at: datetime | None
    restorable_from: datetime | None
    restorable: list[RestorableView]
    archived_at: datetime | None
    unarchived: str
    impossible: str
    running: BackupType | None
    progress: int | None
    asked_at: datetime | None
    failure: str
    failed_at: datetime | None
    gap_at: datetime | None
    next_at: datetime
    repository_bytes: int
    drill: drills.DrillView | None
    drilling: str
    undrilled: str
    undrilled_at: datetime | None
    next_drill_at: datetime | None


class BackupsAnswer(msgspec.Struct):
    backups: list[BackupView]
    scheduled_backup_time: ScheduleView
    cenote: BackupsView
    links: paging.Links
    meta: paging.Meta
    backup_progress: str | UnsetType = UNSET


class AskedView(msgspec.Struct):
    """A backup that was asked for; it is made when those of other clusters on the host are."""

    asked_at: datetime


class AskedAnswer(msgspec.Struct):
    backup: AskedView


@operation(
    HTTPMethod.GET,
    PATH,
    scope=READ,
    answer=BackupsAnswer,
    paged=True,
    also=(412, 422),
    of_replica=replicas.AT_SOURCE,
)
async def list_backups(request: Call) -> Response:
    """List the backups of a cluster, the oldest first; 412 before the first one.

    The response waits for that for a moment.
    """
    service, cluster = request.service, request.cluster().value
    _check_kept(service, cluster)

    def first() -> BackupReport | None:
        report = _report(service, cluster)
        return report if report.backups or report.impossible else None

    report = await service.store.wait(first, service.settings.wait_seconds) or _report(service, cluster)
    if not report.backups:
        raise Busy(why_none(report))
    page, links, meta = paging.page_of(request, report.backups)
    return answer(
        BackupsAnswer(
            [_view(backup) for backup in page],
            _schedule(cluster),
            _state(service, cluster, report),
            links,
            meta,
            UNSET if report.running is None else f"{report.progress or 0:.0f}",
        )
    )


@operation(
    HTTPMethod.POST,
    PATH,
    scope=UPDATE,
    status=202,
    answer=AskedAnswer,
    also=(412, 422),
    of_replica=replicas.AT_SOURCE,
)
async def create_backup(request: Call) -> Response:
    """Make a backup of a cluster now, beside the schedule; it is made when its turn comes.

    One that was asked for within the last ten minutes stands for it, unless that has failed.  412 where none
    can be made.
    """
    service = request.service
    cluster = request.cluster().value
    _check_kept(service, cluster)
    report = _report(service, cluster)
    if report.impossible or archiving.waits_for_restart(report.unarchived):
        reason = report.impossible or archiving.with_remedy(report.unarchived)
        raise Busy(f"No backup can be made: {reason}.")
    now = datetime.now(UTC).replace(microsecond=0)
    if (earlier := backup_schedule.recently_asked(cluster, report, now)) is not None:
        return answer(AskedAnswer(AskedView(earlier)), 202)

    def asked(current: Cluster) -> Cluster:
        if current.backups is None:
            raise Busy("The backups of this cluster are being set up; try again in a few seconds.")
        return replace(current, backups=replace(current.backups, asked_at=now))

    await service.store.update_cluster(cluster.id, asked, request.note())
    return answer(AskedAnswer(AskedView(now)), 202)


def _check_kept(service: Service, cluster: Cluster) -> None:
    """Raise Invalid when the host of the cluster keeps no backups."""
    if not _repository(service, cluster)[0]:
        raise Invalid(drills.KEEPS_NONE)


def _repository(service: Service, cluster: Cluster) -> tuple[str, int, str]:
    """Return the repository of the cluster's host, its days, and what its record warns of."""
    host = service.store.hosts_by_id().get(service.store.shown_node(cluster).host)
    if host is None:
        return "", 0, ""
    return host.repository, host.backup_days, host.repository_warning


def _report(service: Service, cluster: Cluster) -> BackupReport:
    seen = service.report(cluster)
    return (None if seen is None else seen.backups) or BackupReport()


def why_none(report: BackupReport) -> str:
    if report.impossible:
        return f"{_NONE_YET}: {report.impossible}."
    if archiving.waits_for_restart(report.unarchived):
        return f"{_NONE_YET}: {archiving.with_remedy(report.unarchived)}."
    if report.running is not None:
        return f"{_NONE_YET}; the first one is being made."
    if report.failure and report.failed_at is not None:
        return f"{_NONE_YET}; an attempt failed at {report.failed_at:%Y-%m-%dT%H:%M:%SZ}: {report.failure}."
    reason = report.failure or report.unarchived
    return f"{_NONE_YET}: {reason}." if reason else f"{_NONE_YET}; the first one is made when its turn comes."


def window(service: Service, cluster: Cluster, report: BackupReport, now: datetime) -> Window | None:
    """Return the moments of a cluster that can be restored; None before its first backup."""
    is_up = service.topology(cluster).health in (Health.HEALTHY, Health.DEGRADED, Health.STARTING)
    return backup_window.window(report, now, archives=is_up and not report.unarchived)


def _view(backup: Backup) -> BackupView:
    return BackupView(
        created_at=backup.stopped_at,
        size_gigabytes=round(backup.size / _GIGABYTE, 6),
        incremental=backup.type is not BackupType.FULL,
        cenote=BackupDetailsView(
            label=backup.label,
            type=backup.type,
            started_at=backup.started_at,
            duration_seconds=int((backup.stopped_at - backup.started_at).total_seconds()),
            size=backup.size,
            repository_size=backup.repository_size,
            damaged=backup.damaged,
        ),
    )


def _schedule(cluster: Cluster) -> ScheduleView:
    hour, minute = backup_schedule.time_of_day(cluster)
    return ScheduleView(hour, minute, backup_schedule.HOURS)


def state_view(service: Service, cluster: Cluster) -> BackupsView | UnsetType:
    """Return what a cluster's own view has of its backups; UNSET where the host keeps none."""
    if not _repository(service, cluster)[0]:
        return UNSET
    return _state(service, cluster, _report(service, cluster))


def _state(service: Service, cluster: Cluster, report: BackupReport) -> BackupsView:
    repository, days, warning = _repository(service, cluster)
    now = datetime.now(UTC)
    there = window(service, cluster, report, now)
    gap_at = backup_schedule.shown_gap(report)
    return BackupsView(
        repository=repository,
        days=days,
        warning=warning,
        count=len(report.backups),
        last_at=report.backups[-1].stopped_at if report.backups else None,
        restorable_from=report.restorable_from,
        restorable=[] if there is None else [_span_view(span) for span in there.spans],
        archived_at=report.archived_at,
        unarchived=report.unarchived,
        impossible=report.impossible,
        running=report.running,
        progress=None if report.running is None or report.progress is None else int(report.progress),
        asked_at=backup_window.waiting_since(cluster, report),
        failure=report.failure,
        failed_at=report.failed_at,
        gap_at=None if gap_at is None else _whole(gap_at),
        next_at=backup_schedule.next_time(cluster, now),
        repository_bytes=report.repository_bytes,
        drill=drills.view(report.drill),
        drilling=report.drilling,
        undrilled=report.undrilled,
        undrilled_at=report.undrilled_at,
        next_drill_at=drill_rules.next_at(cluster, report, _drill_days(service, cluster)),
    )


def _drill_days(service: Service, cluster: Cluster) -> int:
    host = service.store.hosts_by_id().get(service.store.shown_node(cluster).host)
    return 0 if host is None else host.drill_days


def _span_view(span: Span) -> RestorableView:
    return RestorableView(_whole(span.since), _whole(span.until))


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


ROUTES = (list_backups, create_backup)
