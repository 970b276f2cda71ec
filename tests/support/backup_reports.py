"""Backups of a cluster as an agent reports them, for tests of rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cenote.model.backups import Backup, BackupReport, BackupType

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
LATE = NOON + 5 * HOUR


def backup(stopped_at: datetime, type: BackupType = BackupType.FULL, mib: int = 100) -> Backup:
    """A backup that took a minute."""
    return Backup(
        label=f"{stopped_at:%Y%m%d-%H%M%S}F",
        type=type,
        started_at=stopped_at - timedelta(minutes=1),
        stopped_at=stopped_at,
        size=mib << 20,
        repository_size=1,
    )


REPORT = BackupReport(
    backups=(backup(NOON), backup(NOON + HOUR, BackupType.DIFFERENTIAL, 200)), archived_at=NOON + 2 * HOUR
)
