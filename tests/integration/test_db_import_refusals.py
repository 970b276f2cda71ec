"""``cenote db import``: what it refuses, errors, and ends before their time."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from cenote.host import processes
from cenote_client import Client
from tests.support import process_table
from tests.support.importing import Done, begin, rows, run_import, uri_of
from tests.support.plain_postgres import PASSWORD, PlainPostgres, plain_postgres
from tests.support.service import Service, added_pool
from tests.support.waiting import wait_until

# pg_dump locks it; its size is not asked for, which would take the same lock.
GATE = "CREATE TABLE gate (n int) PARTITION BY RANGE (n)"


@pytest.fixture(scope="module")
def plain() -> Iterator[PlainPostgres]:
    with plain_postgres() as started:
        yield started


# -- What is refused


def refusal(done: Done) -> str:
    assert (done.returncode, done.stdout) == (1, ""), done
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def small(plain: PlainPostgres) -> str:
    plain.run("CREATE DATABASE small")
    plain.run("CREATE TABLE t AS SELECT generate_series(1, 10) AS n", "small")
    plain.run(GATE, "small")
    return plain.uri("small")


def test_a_database_that_is_not_empty_is_replaced_only_on_request(
    running: Service, cluster: Any, small: str
) -> None:
    assert run_import(running, "backend", "again", source=small).returncode == 0
    assert "not empty: it has table public.gate, table public.t" in refusal(
        run_import(running, "backend", "again", source=small)
    )
    unconfirmed = run_import(running, "backend", "again", "--replace", source=small)
    assert "Re-run with --yes" in unconfirmed.stderr
    with psycopg.connect(uri_of(cluster, "again"), autocommit=True) as connection:
        connection.execute("DELETE FROM t")
    done = run_import(running, "backend", "again", "--replace", "--yes", source=small)
    assert done.returncode == 0, done.stderr
    assert rows(uri_of(cluster, "again"), "SELECT count(*) FROM t") == [(10,)]
    added = run_import(running, "backend", "again", "--into-non-empty", source=small)
    assert added.returncode == 1
    assert 'relation "t" already exists' in added.stdout


def test_an_empty_database_is_imported(running: Service, plain: PlainPostgres, cluster: Any) -> None:
    plain.run("CREATE DATABASE void")
    done = run_import(running, "backend", "--verify", source=plain.uri("void"))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "0 tables" in done.stdout
    assert "Left out" not in done.stdout


def test_a_wrong_password_or_none_is_said_at_once(
    running: Service, plain: PlainPostgres, cluster: Any, small: str
) -> None:
    words = refusal(run_import(running, "backend", source=plain.uri("small", password="wrong")))
    assert "password authentication failed" in words
    assert "no password supplied" in refusal(
        run_import(running, "backend", source=plain.uri("small", password=None))
    )
    given = run_import(
        running, "backend", "by-variable", source=plain.uri("small", password=None), PGPASSWORD=PASSWORD
    )
    assert given.returncode == 0, given.stderr


@pytest.mark.parametrize("uri", ["postgresql://127.0.0.1:1/x", "nonsense", "nonsense=1", "postgresql://["])
def test_a_source_that_cannot_be_reached_is_said_at_once(running: Service, cluster: Any, uri: str) -> None:
    assert "cenote: " in refusal(run_import(running, "backend", source=uri))


def test_pools_are_refused_on_both_sides(running: Service, client: Client, cluster: Any, small: str) -> None:
    pool = added_pool(client, cluster["id"], "a-pool", db="defaultdb")
    through = run_import(running, "backend", "from-pool", source=pool["connection"]["uri"])
    assert "through a connection pooler" in refusal(through)
    assert "is a pool" in refusal(run_import(running, "backend", "a-pool", source=small))


def test_the_database_itself_is_no_source(running: Service, cluster: Any) -> None:
    words = refusal(run_import(running, "backend", source=uri_of(cluster, "defaultdb")))
    assert "the same database" in words


def test_tables_are_left_out_only_on_request(running: Service, plain: PlainPostgres, cluster: Any) -> None:
    plain.run("CREATE DATABASE shapes")
    plain.run(
        "CREATE EXTENSION isn; CREATE EXTENSION cube; CREATE EXTENSION pageinspect;"
        "CREATE FUNCTION odd(float8) RETURNS float8 LANGUAGE internal IMMUTABLE STRICT AS 'dcos';"
        "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1);"
        "CREATE TABLE lost (n float8 CHECK (odd(n) < 2)); CREATE INDEX ON lost (n)",
        "shapes",
    )
    done = run_import(running, "backend", source=plain.uri("shapes"))
    assert "1 tables would be left out with their rows: public.lost" in refusal(done)
    done = run_import(running, "backend", "--partial", "-o", "json", source=plain.uri("shapes"))
    assert done.returncode == 0, done.stderr + done.stdout
    lost = [one["name"] for one in json.loads(done.stdout)["left_out"] if one["loses_rows"]]
    assert lost == ["public.lost"]
    assert rows(uri_of(cluster, "shapes"), "SELECT n FROM kept") == [(1,)]


def test_an_error_of_the_restore_fails_the_command(
    running: Service, plain: PlainPostgres, cluster: Any
) -> None:
    plain.run("CREATE DATABASE careless")
    plain.run(
        "CREATE TABLE rates (n int); INSERT INTO rates VALUES (2);"
        "CREATE FUNCTION rated(int) RETURNS int LANGUAGE plpgsql IMMUTABLE"
        " AS 'BEGIN RETURN (SELECT max(n) FROM rates) * $1; END';"
        "CREATE TABLE bills (n int); INSERT INTO bills VALUES (1); CREATE INDEX by_rate ON bills (rated(n))",
        "careless",
    )
    done = run_import(running, "backend", source=plain.uri("careless"))
    assert done.returncode == 1
    assert 'relation "rates" does not exist' in done.stdout
    assert "add SET search_path to the function" in done.stdout
    assert rows(uri_of(cluster, "careless"), "SELECT n FROM bills") == [(1,)]


# -- Ends before their time


@contextlib.contextmanager
def held(plain: PlainPostgres, database: str) -> Iterator[None]:
    """A lock that has pg_dump wait."""
    with psycopg.connect(plain.uri(database)) as connection:
        connection.execute("LOCK TABLE gate IN ACCESS EXCLUSIVE MODE")
        yield


def dumping(plain: PlainPostgres) -> Any:
    ask: LiteralString = (
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'"
    )
    return rows(plain.uri(), ask)


def arguments_of_all() -> str:
    return "\n".join(map(" ".join, process_table.command_lines().values()))


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGHUP], ids=["ctrl-c", "a closed terminal"])
def test_no_password_is_in_the_process_list_and_an_early_end_leaves_nothing(
    running: Service,
    plain: PlainPostgres,
    client: Client,
    cluster: Any,
    small: str,
    tmp_path: Path,
    ending: signal.Signals,
) -> None:
    with held(plain, "small"):
        process = begin(running, "backend", "stopped", f"--dump-dir={tmp_path}", source=small)
        wait_until("pg_dump waits", 60, lambda: dumping(plain))
        shown = arguments_of_all()
        assert "pg_dump" in shown
        assert PASSWORD not in shown
        process.send_signal(ending)
        printed = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert printed.splitlines()[-1] == "Interrupted. The cluster was not changed."
    assert list(tmp_path.iterdir()) == []
    assert "stopped" not in {one["name"] for one in client.databases.iter_dbs(cluster["id"])}
    wait_until("pg_dump is gone", 60, lambda: not dumping(plain))


def test_an_interrupted_restore_says_what_is_there_and_can_be_repeated(
    running: Service, plain: PlainPostgres, cluster: Any, tmp_path: Path
) -> None:
    plain.run("CREATE DATABASE slow")
    plain.run(
        "CREATE ROLE sleeper LOGIN; CREATE TABLE t (n int); ALTER TABLE t OWNER TO sleeper;"
        "CREATE FUNCTION slowly(int) RETURNS int LANGUAGE plpgsql IMMUTABLE"
        " AS 'BEGIN PERFORM pg_sleep(300); RETURN $1; END';"
        "CREATE MATERIALIZED VIEW waits AS SELECT slowly(n) FROM t; INSERT INTO t VALUES (1)",
        "slow",
    )
    process = begin(running, "backend", f"--dump-dir={tmp_path}", source=plain.uri("slow"))
    ask: LiteralString = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    wait_until("the restore is at work", 120, lambda: rows(uri_of(cluster, "defaultdb"), ask))
    process.send_signal(signal.SIGTERM)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 130, printed
    assert "Database slow has a part of the data; users that were created: sleeper." in printed
    assert list(tmp_path.iterdir()) == []
    names = rows(
        uri_of(cluster, "slow"), "SELECT rolname::text FROM pg_roles WHERE rolname ~ '^cenote_import'"
    )
    assert names == []
    assert rows(uri_of(cluster, "slow"), "SELECT 1 WHERE pg_has_role('sleeper', 'MEMBER')") == []
    plain.run("DROP MATERIALIZED VIEW waits", "slow")
    done = run_import(running, "backend", "--replace", "--yes", "--verify", source=plain.uri("slow"))
    assert done.returncode == 0, done.stderr + done.stdout


def test_a_source_that_dies_leaves_the_cluster_as_it_was(
    running: Service, client: Client, cluster: Any, tmp_path: Path
) -> None:
    with plain_postgres() as dying:
        dying.run(GATE)
        with contextlib.suppress(psycopg.OperationalError), held(dying, "postgres"):
            process = begin(running, "backend", "orphan", f"--dump-dir={tmp_path}", source=dying.uri())
            wait_until("pg_dump waits", 60, lambda: dumping(dying))
            dying.kill()
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "Traceback" not in printed
    assert "the dump failed; the cluster was not changed: pg_dump: error:" in printed
    assert list(tmp_path.iterdir()) == []
    assert "orphan" not in {one["name"] for one in client.databases.iter_dbs(cluster["id"])}
    assert list(processes.below(tmp_path)) == []


def test_an_owner_who_is_no_user_is_refused_before_anything_is_made(
    running: Service, client: Client, cluster: Any, small: str
) -> None:
    words = refusal(run_import(running, "backend", "unowned", "--owner=stranger", source=small))
    assert "has no user stranger" in words
    assert "unowned" not in {one["name"] for one in client.databases.iter_dbs(cluster["id"])}


def test_a_user_whom_the_api_refuses_becomes_a_role_without_login(
    running: Service, plain: PlainPostgres, client: Client, cluster: Any
) -> None:
    plain.run("CREATE DATABASE odd_names")
    plain.run('CREATE ROLE pgbouncer LOGIN; CREATE ROLE "söme one" LOGIN')
    plain.run(
        "CREATE TABLE a (n int); ALTER TABLE a OWNER TO pgbouncer;"
        'CREATE TABLE b (n int); ALTER TABLE b OWNER TO "söme one"',
        "odd_names",
    )
    done = run_import(running, "backend", source=plain.uri("odd_names"))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "user pgbouncer becomes a role without login: " in done.stdout
    ask: LiteralString = (
        "SELECT tableowner::text FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    )
    assert rows(uri_of(cluster, "odd_names"), ask) == [("pgbouncer",), ("söme one",)]
