"""Databases of a cluster."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from .cenote import DatabaseAdditions, PendingChange


class Database(TypedDict):
    name: str
    cenote: NotRequired[DatabaseAdditions]


class DatabaseResponse(TypedDict):
    db: Database
    cenote: NotRequired[PendingChange]


class DatabaseListResponse(TypedDict):
    dbs: list[Database]


class DatabaseCreate(TypedDict):
    name: str
    cenote: NotRequired[DatabaseAdditions]
