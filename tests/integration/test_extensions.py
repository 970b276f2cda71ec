"""Which extensions customers can have, and that none of them leads out of the server."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from msgspec.structs import replace
from psycopg import sql

from cenote.host import extensions
from cenote.model.records import ADMIN_USER, Cluster
from cenote.model.topology import writer_or_first
from tests.support import records
from tests.support.lab import Lab, Share

STATEMENTS = "pg_stat_statements"
AVAILABLE = (
    "SELECT DISTINCT name FROM pg_available_extension_versions WHERE {}"
    f" AND name NOT IN ('plpgsql', '{STATEMENTS}')"
)


async def cluster_with(lab: Lab, *names: str) -> Cluster:
    """Return a running cluster whose users may create things in the default database."""
    cluster = lab.new_cluster()
    cluster = replace(cluster, users=(*cluster.users, *map(records.user, names)))
    await lab.converge(cluster)
    for name in names:
        await run(cluster, ADMIN_USER, sql.SQL("GRANT CREATE ON DATABASE defaultdb TO {}"), name)
    return cluster


async def run(cluster: Cluster, user: str, statement: sql.SQL, *names: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(
        host="127.0.0.1",
        port=writer_or_first(cluster).port,
        user=user,
        password=records.PASSWORD,
        dbname="defaultdb",
        sslmode="require",
        autocommit=True,
    ) as connection:
        cursor = await connection.execute(statement.format(*map(sql.Identifier, names)))
        return await cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize("user", [ADMIN_USER, "app"])
def test_every_trusted_extension_can_be_made_by_whoever_may_create_in_the_database(
    labs: Share, user: str
) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await cluster_with(lab, "app")
        trusted = [name for (name,) in await lab.rows(cluster, AVAILABLE.format("trusted"))]
        assert trusted
        create = sql.SQL("CREATE EXTENSION IF NOT EXISTS {} CASCADE")
        for name in trusted:
            # Some are made in the schema public, which is not open to everybody since PostgreSQL 15.
            await run(cluster, ADMIN_USER, sql.SQL("GRANT CREATE ON SCHEMA public TO {}"), user)
            await run(cluster, user, create, name)

    labs(scenario)


@pytest.mark.parametrize("user", [ADMIN_USER, "app"])
def test_no_other_extension_can_be_made(labs: Share, user: str) -> None:
    """Among them are those that read files, and those that connect: as the account of all servers."""

    async def scenario(lab: Lab) -> None:
        cluster = await cluster_with(lab, "app")
        others = [name for (name,) in await lab.rows(cluster, AVAILABLE.format("NOT trusted"))]
        assert {"dblink", "postgres_fdw", "file_fdw", "pageinspect"} <= set(others)
        for name in others:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await run(cluster, user, sql.SQL("CREATE EXTENSION {} CASCADE"), name)

    labs(scenario)


def test_what_is_offered_is_what_can_be_made(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await cluster_with(lab)
        found = await lab.rows(
            cluster,
            "SELECT DISTINCT name FROM pg_available_extension_versions"
            f" WHERE trusted OR name = '{STATEMENTS}' ORDER BY name",
        )
        assert [name for (name,) in found] == list(extensions.offered(lab.host.binaries[lab.version]))

    labs(scenario)


def test_statements_are_counted_in_every_database_and_shown_to_whom_they_belong(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        binaries = lab.host.binaries[lab.version]
        if not extensions.has(binaries, STATEMENTS):
            pytest.skip(f"{binaries} has no {STATEMENTS}")
        cluster = await cluster_with(lab, "app", "other")
        await run(cluster, "app", sql.SQL("SELECT 6 * 7 AS of_app"))
        # As a client that was written for another service does.
        await run(cluster, "app", sql.SQL("CREATE EXTENSION IF NOT EXISTS pg_stat_statements"))
        seen = sql.SQL("SELECT query FROM pg_stat_statements WHERE query LIKE '%of_app%' AND query !~ 'LIKE'")
        assert len(await run(cluster, "app", seen)) == 1
        assert await run(cluster, "other", seen) == []
        assert len(await run(cluster, ADMIN_USER, seen)) == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await run(cluster, "app", sql.SQL("SELECT pg_stat_statements_reset()"))
        await run(cluster, ADMIN_USER, sql.SQL("SELECT pg_stat_statements_reset()"))
        assert await run(cluster, ADMIN_USER, seen) == []

    labs(scenario)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP EXTENSION pg_stat_statements",
        "ALTER EXTENSION pg_stat_statements SET SCHEMA pg_temp",
        "ALTER EXTENSION pg_stat_statements ADD FUNCTION pg_sleep(float8)",
        "CREATE OR REPLACE VIEW pg_catalog.pg_stat_statements AS SELECT 1",
        "ALTER FUNCTION pg_stat_statements(boolean) OWNER TO doadmin",
        "ALTER FUNCTION pg_stat_statements(boolean) SECURITY DEFINER",
    ],
)
def test_the_administrator_changes_nothing_of_an_extension_that_belongs_to_the_superuser(
    labs: Share, statement: Any
) -> None:
    async def scenario(lab: Lab) -> None:
        if not extensions.has(lab.host.binaries[lab.version], STATEMENTS):
            pytest.skip(f"there is no {STATEMENTS}")
        cluster = await cluster_with(lab)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await run(cluster, ADMIN_USER, sql.SQL(statement))

    labs(scenario)


def test_the_administrator_lets_others_watch_the_server_and_gains_nothing_else(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await cluster_with(lab, "app")
        await run(cluster, ADMIN_USER, sql.SQL("GRANT pg_monitor TO {}"), "app")
        assert await run(cluster, "app", sql.SQL("SELECT count(*) FROM pg_stat_activity WHERE query IS NULL"))
        for role in ("pg_read_server_files", "pg_execute_server_program", "pg_write_server_files"):
            with pytest.raises(psycopg.Error):
                await run(cluster, ADMIN_USER, sql.SQL("GRANT {} TO app"), role)

    labs(scenario)
