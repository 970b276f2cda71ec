"""The metrics of backups, of clusters whose host keeps any."""

from __future__ import annotations

from cenote.metrics.exposition import Family, Kind, Page
from cenote.model.backups import BackupReport
from cenote.rules import backup_schedule

_LABELS = ("cluster", "host", "node")


def _gauge(name: str, help: str) -> Family:
    return Family(f"cenote_backup_{name}", Kind.GAUGE, help, _LABELS)


LAST = _gauge("last_timestamp_seconds", "When the last backup was complete; 0 before the first.")
ARCHIVED = _gauge(
    "archived_timestamp_seconds", "When WAL was archived last, to five minutes; 0 if it never was."
)
UNARCHIVED = _gauge("unarchived", "Whether WAL waits because the repository does not take it.")
FAILING = _gauge(
    "failing", "Whether the last attempt to make a backup failed, or none can be made that was asked for."
)
OLDEST = _gauge("oldest_timestamp_seconds", "The oldest moment that can be restored; 0 before the first.")
REPOSITORY = _gauge("repository_bytes", "Size of the backups in the repository, without the WAL.")
ARCHIVE = _gauge(
    "archive_bytes", "Size of the WAL in the repository, as of the last backup; 0 before the first."
)
GAP = _gauge("gap_timestamp_seconds", "When WAL was lost last, which no backup covers; 0 if it never was.")

DRILLED = _gauge(
    "drill_timestamp_seconds", "When the last restore drill came to a result; 0 before the first."
)
DRILL_SECONDS = _gauge("drill_duration_seconds", "How long that restore drill took.")
DRILL_FAILED = _gauge("drill_failed", "Whether that restore drill found the backup not to be good.")

FAMILIES = (
    *(LAST, ARCHIVED, UNARCHIVED, FAILING, OLDEST, REPOSITORY, ARCHIVE, GAP),
    *(DRILLED, DRILL_SECONDS, DRILL_FAILED),
)


def add(page: Page, report: BackupReport, **labels: str) -> None:
    """Add what is known of the backups of a cluster."""
    last = report.backups[-1].stopped_at.timestamp() if report.backups else 0
    oldest = report.restorable_from
    page.add(LAST, last, **labels)
    page.add(ARCHIVED, 0 if report.archived_at is None else report.archived_at.timestamp(), **labels)
    page.add(UNARCHIVED, bool(report.unarchived), **labels)
    page.add(FAILING, bool(report.failure or report.hindrance), **labels)
    page.add(OLDEST, 0 if oldest is None else oldest.timestamp(), **labels)
    page.add(REPOSITORY, report.repository_bytes, **labels)
    page.add(ARCHIVE, report.archive_bytes or 0, **labels)
    gap_at = backup_schedule.shown_gap(report)
    page.add(GAP, 0 if gap_at is None else gap_at.timestamp(), **labels)
    drill = report.drill
    page.add(DRILLED, 0 if drill is None else drill.ended_at.timestamp(), **labels)
    page.add(DRILL_SECONDS, 0 if drill is None else drill.seconds, **labels)
    page.add(DRILL_FAILED, drill is not None and bool(drill.failure), **labels)
