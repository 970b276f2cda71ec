"""The backups of a cluster: which there are, and one beside the schedule."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from cenote.api import paging
from cenote.api.auth import READ, UPDATE
from cenote.api.call import Call
from cenote.api.operation import answer, operation
from cenote.api.service import Service
from cenote.errors import Busy, Invalid
from cenote.http.routing import Response
from cenote.model.backups import Backup, BackupReport, BackupType
from cenote.model.records import Cluster
from cenote.model.topology import writer_or_first
from cenote.rules import backup_schedule

PATH = "/v2/databases/{database_cluster_uuid}/backups"
KEEPS_NONE = "keeping backups is not supported by this service: it was started without --backups."
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


class BackupsView(msgspec.Struct):
    """An extension of Cenote: the repository, and what of it can be restored.

    ``restorable_from`` is the oldest moment that can be, ``archived_at`` when WAL was archived last, to a few
    minutes.  ``unarchived`` is why it is not archived now, ``failure`` why the last backup failed, each "" if
    all is well; ``impossible`` is why none can be made at all.  ``running`` is the type of the one that is
    being made.  WAL was lost at ``gap_at``: moments from then to the full backup after it cannot be restored.
    """

    repository: str
    days: int
    restorable_from: datetime | None
    archived_at: datetime | None
    unarchived: str
    impossible: str
    running: BackupType | None
    failure: str
    failed_at: datetime | None
    gap_at: datetime | None
    next_at: datetime
    repository_bytes: int


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


@operation(HTTPMethod.GET, PATH, scope=READ, answer=BackupsAnswer, paged=True, also=(412, 422))
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
        raise Busy(_why_none(report))
    page, links, meta = paging.page_of(request, report.backups)
    return answer(
        BackupsAnswer(
            [_view(backup) for backup in page],
            _schedule(cluster),
            _details(service, cluster, report),
            links,
            meta,
            UNSET if report.running is None else f"{report.progress or 0:.0f}",
        )
    )


@operation(HTTPMethod.POST, PATH, scope=UPDATE, status=202, answer=AskedAnswer, also=(412, 422))
async def create_backup(request: Call) -> Response:
    """Make a backup of a cluster now, beside the schedule; it is made when its turn comes.

    One that was asked for within the last ten minutes stands for it, unless that has failed.  412 where none
    can be made.
    """
    service = request.service
    cluster = request.cluster().value
    _check_kept(service, cluster)
    report = _report(service, cluster)
    if report.impossible:
        raise Busy(f"No backup can be made: {report.impossible}.")
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
        raise Invalid(KEEPS_NONE)


def _repository(service: Service, cluster: Cluster) -> tuple[str, int]:
    """Return the repository and the days of the cluster's host, as its record says."""
    host = service.store.hosts_by_id().get(writer_or_first(cluster).host)
    return ("", 0) if host is None else (host.repository, host.backup_days)


def _report(service: Service, cluster: Cluster) -> BackupReport:
    seen = service.report(cluster)
    return (None if seen is None else seen.backups) or BackupReport()


def _why_none(report: BackupReport) -> str:
    if report.impossible:
        return f"{_NONE_YET}: {report.impossible}."
    if report.running is not None:
        return f"{_NONE_YET}; the first one is being made."
    if report.failure and report.failed_at is not None:
        return f"{_NONE_YET}; an attempt failed at {report.failed_at:%Y-%m-%dT%H:%M:%SZ}: {report.failure}."
    reason = report.failure or report.unarchived
    return f"{_NONE_YET}: {reason}." if reason else f"{_NONE_YET}; the first one is made when its turn comes."


def _view(backup: Backup) -> BackupView:
    return BackupView(
        created_at=backup.stopped_at,
        size_gigabytes=round(backup.size / _GIGABYTE, 6),
        incremental=backup.type is not BackupType.FULL,
        cenote=BackupDetailsView(
            label=backup.label,
            type=backup.type,
            started_at=backup.started_at,
            size=backup.size,
            repository_size=backup.repository_size,
            damaged=backup.damaged,
        ),
    )


def _schedule(cluster: Cluster) -> ScheduleView:
    hour, minute = backup_schedule.time_of_day(cluster)
    return ScheduleView(hour, minute, backup_schedule.HOURS)


def _details(service: Service, cluster: Cluster, report: BackupReport) -> BackupsView:
    repository, days = _repository(service, cluster)
    gap_at = backup_schedule.shown_gap(report)
    return BackupsView(
        repository=repository,
        days=days,
        restorable_from=report.restorable_from,
        archived_at=report.archived_at,
        unarchived=report.unarchived,
        impossible=report.impossible,
        running=report.running,
        failure=report.failure,
        failed_at=report.failed_at,
        gap_at=None if gap_at is None else gap_at.replace(microsecond=0),
        next_at=backup_schedule.next_time(cluster, datetime.now(UTC)),
        repository_bytes=report.repository_bytes,
    )


ROUTES = (list_backups, create_backup)
