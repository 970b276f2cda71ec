"""Backups, events, and the online migration of a cluster."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


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


class Event(TypedDict):
    """Something that happened to a cluster."""

    id: str
    cluster_name: str
    event_type: Literal[
        "cluster_maintenance_perform",
        "cluster_master_promotion",
        "cluster_create",
        "cluster_update",
        "cluster_delete",
        "cluster_poweron",
        "cluster_poweroff",
    ]
    create_time: str


class EventListResponse(TypedDict):
    events: list[Event]


class OnlineMigration(TypedDict):
    """A running copy from another server."""

    id: str
    status: Literal["running", "syncing", "canceled", "error", "done"]
    created_at: str


class MigrationSource(TypedDict):
    """The server to copy from."""

    host: str
    port: int
    dbname: NotRequired[str]
    username: str
    password: str


class OnlineMigrationStart(TypedDict):
    """``ignore_dbs`` are not copied."""

    source: MigrationSource
    disable_ssl: NotRequired[bool]
    ignore_dbs: NotRequired[list[str]]
