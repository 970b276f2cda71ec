"""Online migration of another server's databases into a cluster."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class MigrationDatabase(TypedDict):
    """How far a database is; ``bytes`` is its size on the source, ``bytes_copied`` here.

    ``lag_bytes`` of changes on the source are not here yet, and for ``lag_seconds`` it has not had all that
    the source has; None if unknown.
    """

    name: str
    step: Literal["waiting", "schema", "copying", "indexes", "syncing", "finishing", "done"]
    tables: int
    tables_copied: int
    bytes: int
    bytes_copied: int
    lag_bytes: int | None
    lag_seconds: float | None


class MigrationPlace(TypedDict):
    """The server that is copied from, without its password."""

    host: str
    port: int
    dbname: str
    username: str
    ssl: bool


class MigrationDetails(TypedDict):
    """What Cenote tells of a migration beyond the DigitalOcean API.

    ``method`` is ``dump`` for a source that cannot replicate: its rows are copied once.  ``ending`` is empty
    until its end is asked for.
    """

    source: MigrationPlace
    method: Literal["logical", "dump"]
    ignore_dbs: list[str]
    replica_identity_full: bool
    ending: Literal["", "finish", "stop", "cancel"]
    reason: str
    warnings: list[str]
    databases: list[MigrationDatabase]
    lag_bytes: int | None


class OnlineMigration(TypedDict):
    """The state of an online migration; ``cenote`` is an extension."""

    id: str
    status: Literal["running", "syncing", "canceled", "error", "done"]
    created_at: str
    cenote: NotRequired[MigrationDetails]


class MigrationSource(TypedDict):
    """The server to copy from."""

    host: str
    port: int
    dbname: NotRequired[str]
    username: str
    password: str


class MigrationWish(TypedDict):
    """``replica_identity_full``: tables without a key follow, too; it is set on the source until the end."""

    replica_identity_full: NotRequired[bool]


class OnlineMigrationStart(TypedDict):
    """``ignore_dbs`` are not copied; ``cenote`` is an extension."""

    source: MigrationSource
    disable_ssl: NotRequired[bool]
    ignore_dbs: NotRequired[list[str]]
    cenote: NotRequired[MigrationWish]
