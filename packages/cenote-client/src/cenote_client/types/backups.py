"""Backups of a cluster."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class BackupDetails(TypedDict):
    """An addition of Cenote: the type of a backup, and sizes in bytes.

    ``size`` is that of the database, ``repository_size`` what the backup added to the repository.
    ``damaged``: pages with wrong checksums were found in it.
    """

    label: str
    type: Literal["full", "diff", "incr"]
    started_at: str
    size: int
    repository_size: int
    damaged: bool


class Backup(TypedDict):
    """A backup; ``created_at`` identifies it in ``backup_restore``."""

    created_at: str
    size_gigabytes: float
    incremental: NotRequired[bool]
    cenote: NotRequired[BackupDetails]


class BackupSchedule(TypedDict, total=False):
    """The backup schedule, in UTC."""

    backup_hour: int
    backup_minute: int
    backup_interval_hours: int


class BackupState(TypedDict):
    """An addition of Cenote: the repository, the oldest moment that can be restored, and what is wrong.

    ``unarchived`` is why WAL is not archived now, ``impossible`` why no backup can be made at all, and
    ``failure`` why the last backup failed, "" without.
    ``gap_at`` is when WAL was lost.
    """

    repository: str
    days: int
    restorable_from: str | None
    archived_at: str | None
    unarchived: str
    impossible: str
    running: Literal["full", "diff", "incr"] | None
    failure: str
    failed_at: str | None
    gap_at: str | None
    next_at: str
    repository_bytes: int


class BackupListResponse(TypedDict):
    backups: list[Backup]
    scheduled_backup_time: NotRequired[BackupSchedule]
    backup_progress: NotRequired[str]
    cenote: NotRequired[BackupState]


class BackupAsked(TypedDict):
    """A backup that was asked for."""

    asked_at: str


class BackupAskedResponse(TypedDict):
    backup: BackupAsked
