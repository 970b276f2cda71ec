"""Sessions on the server of a cluster under test, as one of its users."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg

from cenote.model.records import Cluster
from cenote.model.topology import writer_or_first
from tests.support import records
from tests.support.lab import Lab

Connection = psycopg.AsyncConnection[Any]


@dataclass
class House:
    """A cluster, and the sessions that a scenario has opened; they end with ``sessions``."""

    lab: Lab
    cluster: Cluster
    sessions: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def connect(self, user: str, database: str = "defaultdb", **parameters: Any) -> Connection:
        given: dict[str, Any] = {
            "port": writer_or_first(self.cluster).port,
            "password": records.PASSWORD,
            "autocommit": True,
        }
        connection: Connection = await psycopg.AsyncConnection.connect(
            host="127.0.0.1", user=user, dbname=database, sslmode="require", **(given | parameters)
        )
        self.sessions.push_async_callback(connection.close)
        return connection

    async def run(self, user: str, statements: LiteralString, database: str = "defaultdb") -> None:
        async with await self.connect(user, database) as connection:
            await connection.execute(statements)
