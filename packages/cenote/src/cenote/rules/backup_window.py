"""Which moments of a cluster can be restored, by what its agent reports of backups and WAL: pure.

Times are UTC.  A moment lies in the window if a backup was complete by then, all WAL up to it is in the
archive or will be, and none was lost in between.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from cenote.errors import Invalid
from cenote.model.backups import BackupReport, BackupType, Loss
from cenote.model.records import Cluster
from cenote.rules import backup_schedule

FIELD = "backup_restore.backup_created_at"
_SECONDS = timedelta(seconds=2)


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a window that cannot be restored, without its ends; without ``until`` it has none yet."""

    since: datetime
    until: datetime | None = None

    def has(self, moment: datetime) -> bool:
        return moment > self.since and (self.until is None or moment < self.until)


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Moments without a gap between them, both ends included."""

    since: datetime
    until: datetime


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The moments that can be restored: from one to another, both included, but for gaps."""

    since: datetime
    until: datetime
    gaps: tuple[Gap, ...] = ()

    @property
    def spans(self) -> tuple[Span, ...]:
        """The moments in pieces without a gap, the oldest first."""
        found, since = [], self.since
        for gap in self.gaps:
            if gap.since >= self.until:
                break
            if since <= gap.since:
                found.append(Span(since=since, until=gap.since))
            if gap.until is None:
                return tuple(found)
            since = max(since, gap.until)
        return (*found, Span(since=since, until=max(since, self.until)))

    @property
    def in_words(self) -> str:
        told = f"{_shown(self.since)} to {_shown(self.until)} UTC"
        if not self.gaps:
            return told
        return f"{told}, except {' and '.join(map(_gap_in_words, self.gaps))}, as WAL of that time was lost"


def moment(text: str) -> datetime:
    """Return a moment of RFC 3339, in UTC; Invalid for anything else, and for one without an offset."""
    try:
        found = datetime.fromisoformat(text.strip().upper())
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise Invalid(f"{FIELD}: {text[:40]!a} is not a time such as 2026-11-28T10:00:00Z.")
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise Invalid(f"{FIELD}: {text[:40]!a} is out of range.") from None


def window(report: BackupReport, now: datetime, *, archives: bool) -> Window | None:
    """Return what can be restored by a report on backups; None before the first one.

    With ``archives`` the server is up, and what it writes reaches the archive in time; else the window ends
    with what was archived last.
    """
    if report.restorable_from is None:
        return None
    last = (
        now if archives else max(report.archived_at or report.restorable_from, report.backups[-1].stopped_at)
    )
    until = max(report.restorable_from, last.replace(microsecond=0))
    return Window(since=report.restorable_from, until=until, gaps=_gaps(report))


def check(target: datetime, there: Window, name: str) -> None:
    """Raise Invalid, with the window, for a moment that is not in it."""
    is_within = there.since <= target and target.replace(microsecond=0) <= there.until  # which is a second
    if is_within and not any(gap.has(target) for gap in there.gaps):
        return
    raise Invalid(
        f"{FIELD}: {_shown(target)} UTC cannot be restored. What can be of {name} is {there.in_words}."
    )


def waiting_since(cluster: Cluster, report: BackupReport) -> datetime | None:
    """Return when a backup was asked for that is not made yet, and whose attempt has not failed."""
    asked_at = None if cluster.backups is None else cluster.backups.asked_at
    if asked_at is None or report.running is not None:
        return None
    is_made = bool(report.backups) and report.backups[-1].started_at >= asked_at
    has_failed = report.failed_at is not None and report.failed_at >= asked_at
    return None if is_made or has_failed else asked_at


def _gaps(report: BackupReport) -> tuple[Gap, ...]:
    """Return what cannot be restored since WAL was lost, up to the end of the full backup after it."""
    first = report.backups[0].started_at
    return tuple(_gap(report, loss) for loss in backup_schedule.losses(report) if loss.at > first)


def _gap(report: BackupReport, loss: Loss) -> Gap:
    """Return one; what was dropped is older than its loss, so that alone does not say where it begins."""
    # A backup has all WAL up to its end, which is of whole seconds only.
    known = loss.at if loss.since is None else loss.since + _SECONDS
    ends = [one.stopped_at for one in report.backups if one.stopped_at <= min(known, loss.at)]
    since = max([*ends[-1:], *filter(None, [loss.since])], default=loss.at)
    full = (one for one in report.backups if one.type is BackupType.FULL and one.started_at >= loss.at)
    return Gap(since=min(since, loss.at), until=next((one.stopped_at for one in full), None))


def _gap_in_words(gap: Gap) -> str:
    return f"{_shown(gap.since)} to {'now' if gap.until is None else f'{_shown(gap.until)} UTC'}"


def _shown(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    text = moment.strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{moment.microsecond:06d}" if moment.microsecond else text
