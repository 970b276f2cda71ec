"""Backups of a cluster."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Backup(TypedDict):
    """A backup; ``created_at`` identifies it in ``backup_restore``."""

    created_at: str
    size_gigabytes: float
    incremental: NotRequired[bool]


class BackupSchedule(TypedDict, total=False):
    """The backup schedule, in UTC."""

    backup_hour: int
    backup_minute: int
    backup_interval_hours: int


class BackupListResponse(TypedDict):
    backups: list[Backup]
    scheduled_backup_time: NotRequired[BackupSchedule]
    backup_progress: NotRequired[str]
