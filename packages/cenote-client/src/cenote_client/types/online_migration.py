"""Online migration of another server's databases into a cluster."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class OnlineMigration(TypedDict):
    """The state of an online migration."""

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
