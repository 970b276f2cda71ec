"""When a cluster is backed up next, and how: daily, whole once a week.  Pure.

Times are UTC.  A cluster whose owner has not chosen any has one that follows from its id, so that those of a
host do not begin together.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec.structs import replace

from cenote.model.backups import Backup, BackupReport, BackupType, Loss
from cenote.model.records import Cluster

HOURS = 24  # between two
ASKED_APART = timedelta(minutes=10)  # those beside the schedule
_WEEK = timedelta(days=7)
_SLACK = timedelta(hours=12)  # the one after a week may begin a little earlier in the day
_MINUTES_OF_A_DAY = HOURS * 60
_MOST_LOSSES = 50  # in a report; of more, the oldest count as one


def time_of_day(cluster: Cluster) -> tuple[int, int]:
    """Return hour and minute of the daily backup, in UTC."""
    chosen = cluster.configuration.unused
    hour, minute = divmod(cluster.id.int % _MINUTES_OF_A_DAY, 60)
    given = chosen.get("backup_hour"), chosen.get("backup_minute")
    if given[0] is not None:
        hour, minute = int(str(given[0])), 0
    if given[1] is not None:
        minute = int(str(given[1]))
    return hour, minute


def last_time(cluster: Cluster, now: datetime) -> datetime:
    """Return the last moment for which a backup was scheduled."""
    hour, minute = time_of_day(cluster)
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return today if today <= now else today - timedelta(days=1)


def next_time(cluster: Cluster, now: datetime) -> datetime:
    return last_time(cluster, now) + timedelta(days=1)


def due(cluster: Cluster, report: BackupReport, now: datetime) -> BackupType | None:
    """Return the type of the backup that is due, None if none is.

    The first one is due at once, and a whole one after WAL was lost: nothing after the gap can be restored
    from what was before it.
    """
    full = _last_full(report)
    if full is None or uncovered_gap(report) is not None:
        return BackupType.FULL
    newest = report.backups[-1]
    asked_at = None if cluster.backups is None else cluster.backups.asked_at
    is_asked = asked_at is not None and newest.started_at < asked_at
    if not is_asked and newest.started_at >= last_time(cluster, now):
        return None
    return BackupType.FULL if now - full.started_at > _WEEK - _SLACK else BackupType.DIFFERENTIAL


def is_covered(report: BackupReport, gap_at: datetime) -> bool:
    """Return whether a full backup was begun after WAL was lost."""
    full = _last_full(report)
    return full is not None and full.started_at >= gap_at


def latest(*moments: datetime | None) -> datetime | None:
    """Return the latest of those moments that are known."""
    return max((moment for moment in moments if moment is not None), default=None)


def uncovered_gap(report: BackupReport) -> datetime | None:
    """Return when WAL was lost, unless a full backup was begun after that."""
    gap_at = report.gap_at
    return None if gap_at is None or is_covered(report, gap_at) else gap_at


def shown_gap(report: BackupReport) -> datetime | None:
    """Return when WAL was lost, unless all that can be restored is from after that."""
    gap_at, backups = report.gap_at, report.backups
    return gap_at if gap_at is not None and backups and backups[0].started_at < gap_at else None


def losses(report: BackupReport) -> tuple[Loss, ...]:
    """Return when WAL was lost, the oldest first; a report of an earlier version has the last time alone."""
    at = report.gap_at
    if at is None or (report.losses and report.losses[-1].at >= at):
        return report.losses
    return (*report.losses, Loss(at=at))


def with_loss(report: BackupReport, at: datetime | None, since: datetime | None = None) -> BackupReport:
    """Return a report with WAL lost at ``at``, if there is any, and all up to ``since`` archived.

    What is lost again before a full backup was begun belongs to the same loss.
    """
    found = losses(report)
    last = found[-1] if found else None
    if at is not None and last is not None and not is_covered(report, last.at):
        found = (*found[:-1], _both(last, Loss(at=at, since=since)))
    elif at is not None and (last is None or last.at < at):
        found = (*found, Loss(at=at, since=since))
    return replace(report, gap_at=latest(report.gap_at, at), losses=_kept(report, found))


def with_losses(report: BackupReport, others: Iterable[Loss]) -> BackupReport:
    """Return a report with further losses that others have told.

    Those without a full backup between them are one; which these are is known only once the backups are.
    """
    told = {one.at: one for one in (*others, *losses(report))}
    found: list[Loss] = []
    for at in sorted(told):
        if found and report.backups and not _has_full(report, found[-1].at, at):
            found[-1] = _both(found[-1], told[at])
        else:
            found.append(told[at])
    kept = _kept(report, tuple(found))
    if not kept or kept == report.losses:
        return report
    return replace(report, gap_at=latest(report.gap_at, kept[-1].at), losses=kept)


def _kept(report: BackupReport, found: tuple[Loss, ...]) -> tuple[Loss, ...]:
    """Return the losses that moments of the backups can lie in; of more than a report takes, the newest."""
    first = report.backups[0].started_at if report.backups else None
    found = tuple(one for one in found if first is None or one.at > first)
    while len(found) > _MOST_LOSSES:
        found = (_both(found[0], found[1]), *found[2:])
    return found


def _has_full(report: BackupReport, since: datetime, until: datetime) -> bool:
    return any(one.type is BackupType.FULL and since <= one.started_at < until for one in report.backups)


def _both(before: Loss, after: Loss) -> Loss:
    """Return two losses without a full backup between them as one."""
    since = before.since
    if since is not None and after.since is not None:
        since = min(since, after.since)
    return Loss(at=max(before.at, after.at), since=since)


def recently_asked(cluster: Cluster, report: BackupReport, now: datetime) -> datetime | None:
    """Return when a backup was asked for that stands for one that is asked for now, None if none does.

    One that has failed does not: to ask again is to try again.
    """
    asked_at = None if cluster.backups is None else cluster.backups.asked_at
    if asked_at is None or now - asked_at >= ASKED_APART:
        return None
    has_failed = report.failed_at is not None and report.failed_at >= asked_at
    return None if has_failed else asked_at


def _last_full(report: BackupReport) -> Backup | None:
    return next((one for one in reversed(report.backups) if one.type is BackupType.FULL), None)
