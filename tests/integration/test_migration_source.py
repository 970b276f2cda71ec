"""What an online migration does to its source: with a real server that others use, too."""

from __future__ import annotations

import asyncio

import psycopg

from cenote.host.migration_source import Source
from cenote.model.migrations import MigrationSource
from cenote.model.record import Secret
from cenote.rules.migration_checks import SourceTable
from tests.support.plain_postgres import PASSWORD, PlainPostgres, plain_postgres

IDENTITY = "SELECT relreplident::text FROM pg_class WHERE relname = 'keyless'"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"


def test_queries_of_a_table_do_not_queue_behind_its_new_identity() -> None:
    with plain_postgres() as server:
        server.run("CREATE TABLE keyless (number int)")
        asyncio.run(_identity_beside_a_long_transaction(server))


async def _identity_beside_a_long_transaction(server: PlainPostgres) -> None:
    place = MigrationSource(
        host="127.0.0.1",
        port=server.port,
        dbname="postgres",
        username=server.superuser,
        sealed_password="",
        tls=False,
    )
    source, table = Source(place, Secret(PASSWORD)), SourceTable(schema="public", name="keyless")
    async with (
        await psycopg.AsyncConnection.connect(server.uri()) as reading,
        await psycopg.AsyncConnection.connect(server.uri(), autocommit=True) as other,
    ):
        await other.execute("SET statement_timeout = '30s'")
        await reading.execute("SELECT FROM keyless")
        publishing = asyncio.create_task(source.publish("postgres", "ours", [table], [table]))
        while (await (await other.execute(WAITING)).fetchall()) == [(0,)]:
            await asyncio.sleep(0.02)
        await other.execute("SELECT FROM keyless")  # it would wait for the transaction above
        assert not publishing.done()
        await reading.commit()
        await publishing
        assert await (await other.execute(IDENTITY)).fetchall() == [("f",)]
        identities = {"postgres": [("public", "keyless", "d")]}
        await source.clean({"postgres": "ours"}, identities)
        assert await (await other.execute(IDENTITY)).fetchall() == [("d",)]
