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
    duration_seconds: NotRequired[int]
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


class Drill(TypedDict):
    """A restore drill; ``failure`` says what was wrong with the backup, "" if nothing was."""

    label: str
    started_at: str
    ended_at: str
    seconds: float
    check: str
    failure: str


class RestorableSpan(TypedDict):
    """Any second from ``since`` to ``until`` can be restored."""

    since: str
    until: str


class BackupState(TypedDict):
    """An addition of Cenote: the repository, what can be restored, and what is wrong.

    ``warning`` is why what is kept is no backup of the host, such as on the disk of the data.
    ``unarchived`` is why WAL is not archived now, ``impossible`` why no backup can be made at all, and
    ``failure`` why the last backup failed, "" without.
    ``gap_at`` is when WAL was lost; ``restorable`` is in pieces then.  ``asked_at`` is when a backup was
    asked for whose turn has not come, ``progress`` how many percent of a running one are done.
    ``drill`` is the last restore drill, ``drilling`` how far the one is that is being made, ``undrilled`` why
    the last attempt came to no result.
    """

    repository: str
    days: int
    warning: str
    count: NotRequired[int]
    last_at: NotRequired[str | None]
    restorable_from: str | None
    restorable: NotRequired[list[RestorableSpan]]
    archived_at: str | None
    unarchived: str
    impossible: str
    running: Literal["full", "diff", "incr"] | None
    progress: NotRequired[int | None]
    asked_at: NotRequired[str | None]
    failure: str
    failed_at: str | None
    gap_at: str | None
    next_at: str
    repository_bytes: int
    drill: Drill | None
    drilling: str
    undrilled: str
    undrilled_at: str | None
    next_drill_at: str | None


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


class DrillAsked(TypedDict):
    """A restore drill that was asked for."""

    asked_at: str


class DrillAskedResponse(TypedDict):
    drill: DrillAsked
