"""The database ``postgres`` is open to tools; customers can neither create nor block anything in it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import LiteralString

import psycopg
import pytest
from msgspec.structs import replace

from cenote.model.records import ADMIN_USER, Cluster, Database
from tests.support import records
from tests.support.agent import ask, refusal
from tests.support.lab import Lab, Share
from tests.support.tools import address, addressed, run_tool, tried

REFUSED: tuple[LiteralString, ...] = (
    "CREATE TABLE mine ()",
    "CREATE TABLE public.mine ()",
    "CREATE TABLE cenote.mine ()",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE EXTENSION pg_trgm",
    "CREATE PUBLICATION mine",
    "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION version()",
    "SELECT * FROM cenote.made",
    "INSERT INTO cenote.made VALUES ('database', 'defaultdb')",
    "DELETE FROM cenote.made",
    "TRUNCATE cenote.made",
    "ALTER TABLE cenote.made ADD COLUMN more int",
    "DROP SCHEMA cenote CASCADE",
    "DROP SCHEMA public",
    "DROP EXTENSION plpgsql CASCADE",
    "ALTER EXTENSION plpgsql DROP TABLE cenote.made",
    "DO $$ BEGIN LOCK TABLE cenote.made IN ACCESS SHARE MODE; END $$",
    "DO $$ BEGIN LOCK TABLE pg_catalog.pg_database IN SHARE MODE; END $$",
    "ALTER DATABASE postgres SET search_path = mine",
    "ALTER DATABASE postgres OWNER TO CURRENT_USER",
    "ALTER DATABASE postgres CONNECTION LIMIT 0",
    "ALTER ROLE postgres SET search_path = mine",
    "ALTER ROLE postgres IN DATABASE postgres SET search_path = mine",
    "COMMENT ON DATABASE postgres IS 'mine'",
    "CREATE DATABASE copy TEMPLATE postgres",
)


async def new_cluster(lab: Lab) -> Cluster:
    """A cluster with a user who may create databases, as test runners need it."""
    cluster = lab.new_cluster()
    cluster = replace(cluster, users=(*cluster.users, records.user("app")))
    await lab.converge(cluster)
    await ask(cluster, "ALTER ROLE app CREATEDB", pool=None)
    return cluster


async def names(cluster: Cluster) -> set[str]:
    found = await ask(cluster, "SELECT string_agg(datname, ' ') FROM pg_database", pool=None)
    return set(found.split())


@pytest.mark.parametrize("user", [ADMIN_USER, "app"])
def test_databases_are_made_listed_and_dropped_by_postgresqls_own_programs(labs: Share, user: str) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await new_cluster(lab)
        await run_tool(lab, cluster, "createdb", "shop", user=user)
        listed = await run_tool(lab, cluster, "psql", "--list", "--tuples-only", "--no-align", user=user)
        assert {"shop", "defaultdb", "postgres"} <= {line.partition("|")[0] for line in listed.splitlines()}
        await run_tool(lab, cluster, "dropdb", "shop", user=user)
        assert "shop" not in await names(cluster)

    labs(scenario)


@pytest.mark.parametrize(
    "command",
    [
        ("vacuumdb", "--all"),
        ("vacuumdb", "--all", "--analyze-in-stages"),
        ("vacuumdb", "--all", "--full"),
        ("vacuumdb", "--all", "--jobs=2"),
        ("clusterdb", "--all"),
        ("pg_dump", "postgres"),
        ("pg_dump", "--create", "--clean", "--if-exists", "postgres"),
        ("pg_dumpall", "--no-role-passwords"),
        ("pg_dumpall", "--no-role-passwords", "--globals-only"),
        ("pg_dumpall", "--no-role-passwords", "--schema-only"),
    ],
    ids=" ".join,
)
def test_programs_for_all_databases_get_through(labs: Share, command: tuple[str, ...]) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await new_cluster(lab)
        printed = await run_tool(lab, cluster, *command)
        assert "cenote.made" not in printed
        assert "SCHEMA cenote" not in printed

    labs(scenario)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        # The server lets only the owner of a database reindex it, and only superusers read passwords.
        (("reindexdb", "--all"), "must be owner of database postgres"),
        (("pg_dumpall", "--globals-only"), "permission denied for table pg_authid"),
    ],
    ids=" ".join,
)
def test_what_takes_a_superuser_is_refused_in_postgresqls_words(
    labs: Share, command: tuple[str, ...], told: str
) -> None:
    """As docs/compatibility.md says, with the way that works."""

    async def scenario(lab: Lab) -> None:
        cluster = await new_cluster(lab)
        program = str(lab.host.binaries[lab.version] / command[0])
        done = await asyncio.to_thread(tried, program, *command[1:], environment=addressed(cluster))
        assert done.returncode != 0
        assert told in done.stderr
        await run_tool(lab, cluster, "reindexdb", "defaultdb")

    labs(scenario)


@pytest.mark.parametrize("user", [ADMIN_USER, "app"])
def test_nothing_can_be_created_or_changed_in_it(labs: Share, user: str) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await new_cluster(lab)
        privileges = "SELECT datacl FROM pg_database WHERE datname = 'postgres'"
        before = await lab.rows(cluster, privileges)
        for statement in REFUSED:
            told = await refusal(cluster, statement, pool=None, user=user, database="postgres")
            assert any(words in told for words in ("permission denied", "must be")), (statement, told)
        # PostgreSQL answers these with a warning.
        await ask(cluster, "GRANT CREATE ON DATABASE postgres TO app", pool=None, user=user)
        await ask(cluster, "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC", pool=None, user=user)
        assert await lab.rows(cluster, privileges) == before

    labs(scenario)


LEDGER: tuple[LiteralString, ...] = (
    "INSERT INTO cenote.made VALUES ('role', 'postgres')",
    "UPDATE cenote.made SET name = 'postgres' WHERE kind = 'role'",
    "DELETE FROM cenote.made",
)


@pytest.mark.parametrize("user", [ADMIN_USER, "app"])
def test_no_predefined_role_lets_a_user_change_the_ledger(labs: Share, user: LiteralString) -> None:
    """Before PostgreSQL 16 the administrator can grant all of them that are no superusers."""

    async def scenario(lab: Lab) -> None:
        cluster = await new_cluster(lab)
        whole = "SELECT kind, name FROM cenote.made ORDER BY 1, 2"
        before = await lab.rows(cluster, whole)
        for role in ("pg_read_all_data", "pg_write_all_data"):
            with contextlib.suppress(psycopg.Error):
                await ask(cluster, f"GRANT {role} TO {user}", pool=None)
        for statement in LEDGER:
            told = await refusal(cluster, statement, pool=None, user=user, database="postgres")
            assert "permission denied" in told
        assert await lab.rows(cluster, whole) == before

    labs(scenario)


def test_sessions_in_it_hold_up_no_change_of_the_cluster(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await new_cluster(lab)
        async with (
            await psycopg.AsyncConnection.connect(address(cluster, ADMIN_USER, "postgres")) as first,
            await psycopg.AsyncConnection.connect(address(cluster, "app", "postgres")) as second,
        ):
            for connection in (first, second):
                # All that it may lock, for as long as it likes.
                await connection.execute("CREATE TEMP TABLE mine AS SELECT * FROM pg_database")
                for table in ("pg_class", "pg_database", "pg_proc", "pg_depend", "pg_extension", "pg_roles"):
                    locking = f"LOCK TABLE pg_catalog.{table} IN ACCESS SHARE MODE"
                    await connection.execute(locking.encode())
                await connection.execute("SELECT pg_advisory_xact_lock_shared(1)")
            more = replace(
                cluster,
                users=(*cluster.users, records.user("second")),
                databases=(*cluster.databases, Database(name="shop", owner="second")),
            )
            await lab.converge(more)
            assert await ask(more, pool=None, user="second", database="shop") == 42
            await lab.converge(cluster)
            assert "shop" not in await names(cluster)

    labs(scenario)


def test_a_user_is_removed_with_what_can_be_left_in_it(labs: Share) -> None:
    """A large object and default privileges take no CREATE."""

    async def scenario(lab: Lab) -> None:
        cluster = await new_cluster(lab)
        for statement in (
            "SELECT lo_from_bytea(0, 'left')",
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        ):
            await ask(cluster, statement, pool=None, user="app", database="postgres")
        await lab.converge(replace(cluster, users=cluster.users[:1]))
        assert await lab.rows(cluster, "SELECT FROM pg_roles WHERE rolname = 'app'") == []
        assert await lab.rows(cluster, "SELECT FROM pg_default_acl") == []

    labs(scenario)


def test_nobody_gets_into_the_templates_where_a_session_would_hold_up_new_databases(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await new_cluster(lab)
        for user in (ADMIN_USER, "app"):
            for database in ("template0", "template1"):
                told = await refusal(cluster, pool=None, user=user, database=database)
                assert "not currently accepting connections" in told
            assert "must be owner" in await refusal(
                cluster, "ALTER DATABASE template1 ALLOW_CONNECTIONS true", pool=None, user=user
            )

    labs(scenario)
