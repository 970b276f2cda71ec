"""``cenote db import`` from plain servers and from other clusters: what arrives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from cenote_client import Client
from tests.support.importing import Done, checksums, definitions, reading_all, rows, run_import, uri_of
from tests.support.plain_postgres import PASSWORD, PlainPostgres, plain_postgres
from tests.support.service import Service, online_cluster

NASTY = (Path(__file__).parents[1] / "support" / "nasty.sql").read_text()


@pytest.fixture(scope="module")
def plain() -> Iterator[PlainPostgres]:
    with plain_postgres() as started:
        yield started


@pytest.fixture(scope="module")
def nasty(plain: PlainPostgres) -> str:
    """The URI of a database with everything that is hard to move."""
    plain.run("CREATE DATABASE nasty")
    plain.run('ALTER DATABASE nasty SET search_path = public, "we""ird schema"')
    plain.run(NASTY, "nasty")
    return plain.uri("nasty")


@pytest.fixture(scope="module")
def imported(running: Service, cluster: Any, nasty: str) -> Done:
    """That database, imported, with the report as JSON."""
    return run_import(running, "backend", "--verify", "-o", "json", source=nasty)


# -- What arrives


def test_an_import_of_what_is_hard_to_move_succeeds(imported: Done) -> None:
    assert imported.returncode == 0, imported.stderr + imported.stdout
    report = json.loads(imported.stdout)
    assert (report["status"], report["errors"], report["differences"]) == ("imported", [], [])
    assert report["rows_compared"] > 5
    assert PASSWORD not in imported.stdout + imported.stderr
    assert "hidden" not in imported.stdout + imported.stderr


def test_all_rows_arrive(imported: Done, cluster: Any, nasty: str) -> None:
    with reading_all(cluster, "app"):
        there = checksums(uri_of(cluster, "nasty"))
    assert there == checksums(nasty)
    assert len(there) == 6


def test_large_objects_and_sequences_arrive(imported: Done, cluster: Any, nasty: str) -> None:
    ask: LiteralString = "SELECT convert_from(lo_get(4711), 'LATIN1'), (SELECT last_value FROM numbers)"
    with reading_all(cluster, "app"):
        assert rows(uri_of(cluster, "nasty"), ask) == rows(nasty, ask) == [("large \x01 object", 105)]


def test_definitions_differ_only_in_what_the_report_says(imported: Done, cluster: Any, nasty: str) -> None:
    with reading_all(cluster, "app"):
        here, there = definitions(nasty), definitions(uri_of(cluster, "nasty"))
    gone = {re.sub(r"\s+", " ", statement)[:60].rstrip() for statement in here - there}
    expected = (
        *("CREATE EXTENSION IF NOT EXISTS p", "COMMENT ON EXTENSION p", "CREATE FUNCTION public.cosine"),
        *("CREATE FUNCTION public.leaky", "CREATE OPERATOR FAMILY", "CREATE SERVER", "CREATE USER MAPPING"),
        *("CREATE FOREIGN TABLE", "CREATE VIEW public.nearby", 'CREATE POLICY "for the chief"'),
        *('CREATE POLICY "some of them"', "CREATE PUBLICATION everything", "CREATE EVENT TRIGGER"),
        *("GRANT ALL ON FUNCTION public.pg_stat_statements_reset", "GRANT SELECT ON TABLE public.far_away"),
        *("GRANT SELECT ON TABLE public.nearby", "GRANT SELECT ON TABLE public.people TO rds_superuser"),
        "ALTER DEFAULT PRIVILEGES FOR ROLE postgres",
    )
    # Where the cluster has pg_stat_statements in another schema, a view on it is left out.
    on_statements = ("CREATE VIEW public.slow", "GRANT SELECT ON TABLE public.slow")
    assert [statement for statement in gone if not statement.startswith((*expected, *on_statements))] == []
    assert all(any(statement.startswith(begin) for statement in gone) for begin in expected)
    assert {re.sub(r"\s+", " ", statement) for statement in there - here} <= {
        'CREATE POLICY "some of them" ON public.people FOR SELECT TO "Reader\'s ""group""" USING'
        " (((share)::integer > 10))",
        *(statement for statement in there if "pg_stat_statements" in statement),
    }


def test_the_report_names_what_was_left_out_and_why(imported: Done) -> None:
    report = json.loads(imported.stdout)
    found = {(one["kind"], one["name"]): one["reason"] for one in report["left_out"]}
    assert found["EXTENSION", "postgres_fdw"] == "the target does not offer this extension"
    assert found["VIEW", "public.nearby"] == "needs foreign table public.far_away"
    assert found["EVENT TRIGGER", "watch"] == "only a superuser can create event triggers"
    assert found["PUBLICATION", "everything"] == "only a superuser can publish all tables"
    assert "leakproof" in found["FUNCTION", "public.leaky(integer)"]
    changed = " ".join(report["changed"])
    assert '"for the chief" on public.people is dropped' in changed
    assert '"some of them" on public.people no longer names chief' in changed


def test_owners_groups_and_settings_are_those_of_the_source(imported: Done, cluster: Any, nasty: str) -> None:
    asks: tuple[LiteralString, ...] = (
        "SELECT relname, relowner::regrole::text FROM pg_class WHERE relname IN ('people', 'totals')",
        "SELECT proowner::regrole::text FROM pg_proc WHERE proname = 'secret'",
        "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'we\"ird schema'",
        "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members"
        " WHERE member = 'bob'::regrole",
        "SELECT setconfig FROM pg_db_role_setting s WHERE setrole = 'bob'::regrole",
        "SELECT setconfig FROM pg_db_role_setting WHERE setrole = 0"
        " AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())",
        "SELECT relacl FROM pg_class WHERE relname = 'people'",
    )
    for ask in asks[:-1]:
        assert sorted(rows(uri_of(cluster, "nasty"), ask)) == sorted(rows(nasty, ask))
    assert "rds_superuser" not in str(rows(uri_of(cluster, "nasty"), asks[-1]))


def test_users_get_new_passwords_and_nothing_temporary_stays(
    imported: Done, cluster: Any, client: Client
) -> None:
    names = {name for (name,) in rows(uri_of(cluster, "nasty"), "SELECT rolname::text FROM pg_roles")}
    assert {"app", "bob", "auditor", 'Reader\'s "group"'} <= names
    assert not [name for name in names if name.startswith(("cenote_import", "chief", "rds_"))]
    assert rows(uri_of(cluster, "nasty"), "SELECT 1 WHERE pg_has_role('app', 'MEMBER')") == []
    user = client.databases.get_user(cluster["id"], "app")["user"]
    uri = uri_of(cluster, "nasty", user="app", password=user["password"])
    assert rows(uri, "SELECT count(*) FROM people") == [(500,)]
    assert rows(uri, "SELECT has_schema_privilege('app', 'public', 'CREATE')") == [(True,)]
    assert rows(uri, "SELECT has_schema_privilege('auditor', 'public', 'CREATE')") == [(False,)]
    assert rows(uri, "SELECT has_database_privilege('app', 'nasty', 'CREATE')") == [(False,)]


# -- Owners


def test_without_roles_everything_belongs_to_the_owner_of_the_database(
    running: Service, client: Client, nasty: str
) -> None:
    alone = online_cluster(client, "alone")
    client.databases.add_user(alone["id"], {"name": "shopkeeper"})
    done = run_import(running, "alone", "--roles=none", "--owner=shopkeeper", "--verify", source=nasty)
    assert done.returncode == 0, done.stderr + done.stdout
    ask: LiteralString = (
        "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE oid >= 16384"
        " AND relkind IN ('r', 'v', 'm') AND relname !~ '^(pg_|sql_)'"
    )
    assert rows(uri_of(alone, "nasty"), ask) == [("shopkeeper",)]
    roles = rows(
        uri_of(alone, "nasty"), "SELECT rolname::text FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
    )
    assert [name for (name,) in roles] == ["doadmin", "postgres", "shopkeeper"]
    assert "policy own on public.people is dropped: it is for app only" in done.stdout


def test_a_database_of_another_cluster_is_imported_by_its_administrator(
    running: Service, client: Client, cluster: Any
) -> None:
    old = online_cluster(client, "old-cluster")
    client.databases.add_user(old["id"], {"name": "tenant"})
    client.databases.add(old["id"], {"name": "rented", "cenote": {"owner": "tenant"}})
    password = client.databases.get_user(old["id"], "tenant")["user"]["password"]
    with psycopg.connect(uri_of(old, "rented", user="tenant", password=password)) as connection:
        connection.execute("CREATE TABLE rooms (id serial PRIMARY KEY, name text)")
        connection.execute("INSERT INTO rooms (name) SELECT 'room ' || n FROM generate_series(1, 20) n")
    refused = run_import(running, "backend", source=uri_of(old, "rented"))
    assert refused.returncode == 1
    assert "cannot read public.rooms" in refused.stderr
    with reading_all(old, "tenant"):
        done = run_import(running, "backend", "--verify", source=uri_of(old, "rented"))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "Left out" not in done.stdout
    found = rows(
        uri_of(cluster, "rented"), "SELECT tableowner::text FROM pg_tables WHERE tablename = 'rooms'"
    )
    assert found == [("tenant",)]
    (owner,) = rows(
        uri_of(cluster, "rented"),
        "SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()",
    )
    assert owner == ("tenant",)


def test_a_check_changes_nothing(running: Service, client: Client, cluster: Any, nasty: str) -> None:
    before = rows(uri_of(cluster, "defaultdb"), "SELECT rolname::text FROM pg_roles ORDER BY 1")
    done = run_import(running, "backend", "unborn", "--check", source=nasty)
    assert done.returncode == 0
    assert "nothing was changed" in done.stdout
    assert "event trigger watch: only a superuser" in done.stdout
    assert "unborn" not in {one["name"] for one in client.databases.iter_dbs(cluster["id"])}
    assert rows(uri_of(cluster, "defaultdb"), "SELECT rolname::text FROM pg_roles ORDER BY 1") == before
