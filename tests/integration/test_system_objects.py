"""The system objects that we put into databases: tools neither find nor dump them, and they can be used."""

from __future__ import annotations

from typing import LiteralString

import pytest
from msgspec.structs import replace

from cenote.model.records import ADMIN_USER, Cluster
from tests.support import records
from tests.support.agent import ask, refusal
from tests.support.lab import Lab, Share
from tests.support.tools import dumped, run_tool

BY_SQL = ("CREATE DATABASE by_sql", "CREATE DATABASE restored TEMPLATE template0")
COUNT = "SELECT count(*) > 0 FROM pg_stat_statements"

# As wide as any tool asks: everything but the catalogs, in all schemas.
FOREIGN = """
SELECT 'relation', relname FROM pg_class WHERE {schema}
UNION ALL SELECT 'function', proname FROM pg_proc JOIN pg_namespace ON pronamespace = pg_namespace.oid
    WHERE nspname NOT IN ('pg_catalog', 'information_schema')
UNION ALL SELECT 'type', typname FROM pg_type JOIN pg_namespace ON typnamespace = pg_namespace.oid
    WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
UNION ALL SELECT 'schema', nspname FROM pg_namespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'public')
UNION ALL SELECT 'event trigger', evtname FROM pg_event_trigger
UNION ALL SELECT 'publication', pubname FROM pg_publication
UNION ALL SELECT 'default privileges', defaclrole::regrole::text FROM pg_default_acl
UNION ALL SELECT 'large object', oid::text FROM pg_largeobject_metadata
""".format(
    schema="relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN"
    " ('pg_catalog', 'information_schema', 'pg_toast'))"
)


async def cluster_with_app(lab: Lab) -> Cluster:
    cluster = lab.new_cluster()
    cluster = replace(cluster, users=(*cluster.users, records.user("app")))
    await lab.converge(cluster)
    return cluster


async def ask_all(
    cluster: Cluster, *queries: str, user: str = ADMIN_USER, database: str = "defaultdb"
) -> None:
    for query in queries:
        await ask(cluster, query, pool=None, user=user, database=database)


def test_a_new_database_holds_nothing_outside_the_catalogs(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await cluster_with_app(lab)
        await ask_all(cluster, *BY_SQL)
        for database in ("defaultdb", "by_sql", "restored"):
            assert await lab.rows(cluster, FOREIGN, database) == []

    labs(scenario)


@pytest.mark.parametrize("database", ["defaultdb", "by_sql", "restored", "postgres"])
def test_statements_are_seen_in_every_database_with_any_search_path(labs: Share, database: str) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await cluster_with_app(lab)
        await ask_all(cluster, *BY_SQL, "ALTER ROLE app SET search_path = ''")
        for user in (ADMIN_USER, "app"):
            assert await ask(cluster, COUNT, pool=None, user=user, database=database) is True
        await ask_all(cluster, "SELECT pg_stat_statements_reset()", database=database)
        told = await refusal(cluster, "SELECT pg_stat_statements_reset()", pool=None, user="app")
        assert "permission denied" in told

    labs(scenario)


@pytest.mark.parametrize(
    "statements",
    [
        ("DROP SCHEMA public CASCADE", "CREATE SCHEMA public"),
        ("DROP SCHEMA public CASCADE",),
        ("ALTER SCHEMA public RENAME TO former", "DROP SCHEMA former CASCADE", "CREATE SCHEMA public"),
        ("DROP OWNED BY CURRENT_USER CASCADE",),
        ("REVOKE ALL ON SCHEMA public FROM PUBLIC",),
    ],
)
def test_statements_are_seen_when_the_schema_public_is_gone(
    labs: Share, statements: tuple[LiteralString, ...]
) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await cluster_with_app(lab)
        await ask_all(cluster, *statements)
        for user in (ADMIN_USER, "app"):
            assert await ask(cluster, COUNT, pool=None, user=user) is True
        # As migrations do that were written for another service.
        await ask_all(
            cluster,
            "CREATE EXTENSION IF NOT EXISTS pg_stat_statements",
            "CREATE SCHEMA own",
            "CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA own",
        )
        assert await ask(cluster, COUNT, pool=None) is True

    labs(scenario)


def test_a_tool_that_drops_all_it_finds_in_its_schemas_meets_nothing_of_ours(labs: Share) -> None:
    """As the clean-up commands of ORMs: every view, table, function and schema by name."""

    async def scenario(lab: Lab) -> None:
        cluster = await cluster_with_app(lab)
        await ask_all(cluster, "CREATE VIEW mine AS SELECT 1", "CREATE SCHEMA second")
        await ask_all(
            cluster,
            """
            DO $$ DECLARE thing record; BEGIN
                FOR thing IN SELECT schemaname, viewname FROM pg_views
                    WHERE schemaname NOT IN ('pg_catalog', 'information_schema') LOOP
                    EXECUTE format('DROP VIEW %I.%I CASCADE', thing.schemaname, thing.viewname);
                END LOOP;
                FOR thing IN SELECT routine_schema, routine_name FROM information_schema.routines
                    WHERE routine_schema NOT IN ('pg_catalog', 'information_schema') LOOP
                    EXECUTE format('DROP FUNCTION %I.%I CASCADE', thing.routine_schema, thing.routine_name);
                END LOOP;
                FOR thing IN SELECT nspname FROM pg_namespace
                    WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%' LOOP
                    EXECUTE format('DROP SCHEMA %I CASCADE', thing.nspname);
                END LOOP;
            END $$
            """,
        )
        assert await ask(cluster, COUNT, pool=None) is True

    labs(scenario)


def test_a_dump_of_a_new_database_makes_nothing_and_one_with_tables_is_restored_by_a_plain_user(
    labs: Share,
) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await cluster_with_app(lab)
        assert dumped(await run_tool(lab, cluster, "pg_dump", "defaultdb")) == []
        await ask_all(cluster, "CREATE TABLE parts AS SELECT 42 AS id")
        dump = lab.folder / "parts.dump"
        # As on a server that is not ours.
        await ask_all(cluster, "CREATE DATABASE plain TEMPLATE template0")
        await lab.run(cluster, "DROP EXTENSION pg_stat_statements", "plain")
        await lab.run(cluster, "ALTER DATABASE plain OWNER TO app")
        try:
            await run_tool(lab, cluster, "pg_dump", "--format=custom", f"--file={dump}", "defaultdb")
            options = ("--no-owner", "--exit-on-error", "--dbname=plain", str(dump))
            await run_tool(lab, cluster, "pg_restore", *options, user="app")
        finally:
            dump.unlink(missing_ok=True)
        assert await ask(cluster, "SELECT id FROM parts", pool=None, user="app", database="plain") == 42

    labs(scenario)
