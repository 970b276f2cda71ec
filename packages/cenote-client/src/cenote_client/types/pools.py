"""Connection pools of a PostgreSQL cluster."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from .cenote import PendingChange, PoolAdditions
from .clusters import Connection

PoolMode = Literal["session", "transaction", "statement"]


class Pool(TypedDict):
    """A connection pool; ``size`` is in server connections, ``user`` is empty if clients keep their own."""

    name: str
    user: str
    size: int
    db: str
    mode: PoolMode
    connection: Connection
    private_connection: Connection
    standby_connection: NotRequired[Connection]
    standby_private_connection: NotRequired[Connection]
    cenote: NotRequired[PoolAdditions]


class PoolResponse(TypedDict):
    pool: Pool
    cenote: NotRequired[PendingChange]


class PoolListResponse(TypedDict):
    pools: list[Pool]


class PoolReconnect(TypedDict):
    """The server connections of a pool that are still to be replaced; None if that is not known."""

    pool: str
    connections_left: int | None


class PoolReconnectResponse(TypedDict):
    reconnect: PoolReconnect
    cenote: NotRequired[PendingChange]


class PoolCreate(TypedDict):
    name: str
    mode: PoolMode
    size: int
    db: str
    user: NotRequired[str]


class PoolUpdate(TypedDict):
    mode: PoolMode
    size: int
    db: str
    user: NotRequired[str]
