"""Backups of a cluster."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Backup(TypedDict):
    """A backup; ``created_at`` is what ``backup_restore`` takes."""

    created_at: str
    size_gigabytes: float
    incremental: NotRequired[bool]


class BackupSchedule(TypedDict, total=False):
    """When backups are made, in UTC."""

    backup_hour: int
    backup_minute: int
    backup_interval_hours: int


class BackupListResponse(TypedDict):
    backups: list[Backup]
    scheduled_backup_time: NotRequired[BackupSchedule]
    backup_progress: NotRequired[str]
