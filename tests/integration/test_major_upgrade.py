"""The upgrade of a cluster to another major version, with what its owner has put into it."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from cenote.host import processes
from cenote.model.paths import Layout
from cenote_client import BusyError, InvalidError
from faults import major_upgrade
from tests.support import pgbench, upgrading
from tests.support.service import added_pool, answer_of, tried
from tests.support.upgrading import CHECKSUM, GOODS, NEWER_BACKUPS, Site, version_of
from tests.support.waiting import wait_until

# What an owner has: roles, grants, extensions, large objects, settings, a view of ours.
OWNED = (
    *GOODS,
    "CREATE ROLE reader LOGIN PASSWORD 'a secret of a reader'",
    "CREATE ROLE team",
    "GRANT team TO reader",
    "GRANT SELECT ON goods TO team",
    "CREATE EXTENSION pg_trgm",
    "CREATE INDEX ON goods USING gin (label gin_trgm_ops)",
    "CREATE EXTENSION hstore",
    "ALTER ROLE reader SET statement_timeout = '7s'",
    "ALTER DATABASE defaultdb SET work_mem = '5MB'",
    "SELECT lo_from_bytea(4711, 'a large object')",
    "CREATE VIEW busy AS SELECT count(*) FROM pg_stat_statements",
)
# Ways to be refused: what is done to the database, what undoes it, and what the refusal names.
REFUSED = {
    "slot": (
        "SELECT pg_create_logical_replication_slot('feed', 'pgoutput')",
        "SELECT pg_drop_replication_slot('feed')",
        "the replication slot feed",
    ),
    "closed database": (
        "CREATE DATABASE shut ALLOW_CONNECTIONS false",
        "DROP DATABASE shut",
        "database shut takes no connections",
    ),
    "schema of ours": ("CREATE SCHEMA cenote", "DROP SCHEMA cenote", "a schema named cenote"),
    "type by number": (
        "CREATE TABLE kept (what regproc)",
        "DROP TABLE kept",
        "reg",
    ),
}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with upgrading.site() as found:
        yield found


def run(uri: str, *statements: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_everything_comes_along_and_pools_wait(site: Site) -> None:
    cluster = site.made("along")
    id, uri = cluster["id"], cluster["connection"]["uri"]
    pool = added_pool(site.client, id, "pool")
    app = site.client.request("POST", f"/v2/databases/{id}/users", json={"name": "app"})["user"]
    site.client.request("POST", f"/v2/databases/{id}/dbs", json={"name": "second"})
    run(uri, *OWNED, 'CREATE INDEX ON goods (label COLLATE "de-x-icu")')
    library = "SELECT pg_collation_actual_version('\"de-x-icu\"'::regcollation)"
    former = answer_of(uri, library)
    pgbench.initialize(uri)
    before = answer_of(uri, CHECKSUM)

    with pgbench.bench(pool["connection"]["uri"], clients=2, rate=50) as bench:
        site.upgrade(id)
        assert site.cluster(id)["version"] == site.newer
        upgraded = site.settled(id)
        time.sleep(1)
    print(f"{bench.done} transactions, the longest took {bench.held:.1f} s")

    assert not bench.failed
    assert answer_of(uri, "SELECT count(*) FROM pgbench_history") == bench.done
    assert upgraded["version"] == site.newer == version_of(uri)
    assert answer_of(uri, CHECKSUM) == before
    assert answer_of(uri, "SELECT convert_from(lo_get(4711), 'UTF8')") == "a large object"
    assert answer_of(uri, "SHOW work_mem") == "5MB"
    assert answer_of(uri, "SELECT count FROM busy") > 0
    assert answer_of(uri, "SELECT count(*) FROM goods WHERE label ILIKE '%4999%'") == 1
    reader = {"user": "reader", "password": "a secret of a reader"}
    assert answer_of(uri, "SELECT count(*) FROM goods", **reader) == 5000
    assert answer_of(uri, "SHOW statement_timeout", **reader) == "7s"
    assert answer_of(uri, user="app", password=app["password"]) == 42
    assert answer_of(uri, dbname="second") == 42
    assert answer_of(uri, "SELECT count(*) FROM pg_stats WHERE tablename = 'goods'") > 0
    ends = site.ends(id)
    print(ends)
    assert len(ends) == 1
    assert f"from PostgreSQL {site.older} to {site.newer}" in ends[0]
    told = f'"de-x-icu" of database defaultdb (was {former})' in ends[0]
    assert told == (answer_of(uri, library) != former)
    assert site.remains(id) == []


def test_administrator_and_api_may_do_after_it_what_they_may_do_in_a_new_cluster(site: Site) -> None:
    cluster = site.made("after")
    id, uri = cluster["id"], cluster["connection"]["uri"]
    app = site.client.request("POST", f"/v2/databases/{id}/users", json={"name": "app"})["user"]
    run(uri, "CREATE ROLE reader LOGIN PASSWORD 'a secret of a reader'")
    site.upgrade(id)
    site.settled(id)

    run(
        uri, "ALTER ROLE reader PASSWORD 'another secret'", "CREATE DATABASE third", "CREATE EXTENSION hstore"
    )
    assert answer_of(uri, user="reader", password="another secret") == 42
    assert answer_of(uri, "SELECT count(*) >= 0 FROM pg_stat_statements", dbname="third")
    assert (
        answer_of(
            uri,
            "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_stat_statements'",
            dbname="third",
        )
        == "pg_catalog"
    )
    run(uri, "SELECT pg_stat_statements_reset()", "DROP ROLE reader")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(uri, "GRANT pg_read_server_files TO doadmin")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(uri.replace("/defaultdb", "/postgres"), "DELETE FROM cenote.made")
    made = site.client.request("POST", f"/v2/databases/{id}/users", json={"name": "later"})["user"]
    assert answer_of(uri, user="later", password=made["password"]) == 42
    site.client.request("DELETE", f"/v2/databases/{id}/users/app")
    assert tried(uri, user="app", password=app["password"]) is None
    again = site.client.request("POST", f"/v2/databases/{id}/dbs", json={"name": "fourth"})["db"]
    assert answer_of(uri, dbname=again["name"]) == 42


def test_what_is_in_the_way_is_named_and_nothing_stops(site: Site) -> None:
    cluster = site.made("refused")
    id, uri = cluster["id"], cluster["connection"]["uri"]
    started = answer_of(uri, "SELECT pg_postmaster_start_time()::text")
    for version, words in (
        (site.older, "already"),
        ("12", "no way leads back"),
        ("99", "not installed"),
    ):
        with pytest.raises(InvalidError, match=words):
            site.upgrade(id, version)
    with psycopg.connect(uri, autocommit=True) as connection:
        for todo, undo, words in REFUSED.values():
            connection.execute(todo.encode())
            with pytest.raises(InvalidError, match=words):
                site.upgrade(id)
            connection.execute(undo.encode())
        assert site.cluster(id)["version"] == site.older == version_of(uri)
        assert not site.ends(id)
        assert site.remains(id) == []
        # Whoever was connected still is.
        assert connection.execute("SELECT pg_postmaster_start_time()::text").fetchone() == (started,)


def test_second_upgrade_waits_for_the_first(site: Site) -> None:
    cluster = site.made("twice")
    id = cluster["id"]
    site.upgrade(id)
    with pytest.raises(BusyError):
        site.upgrade(id)
    assert site.settled(id)["version"] == site.newer
    assert len(site.ends(id)) == 1


def test_extension_that_the_new_version_has_not_is_named(site: Site) -> None:
    """Only a superuser can make the extension, so its name is changed in the catalog."""
    cluster = site.made("extension")
    uri = cluster["connection"]["uri"]
    major_upgrade.as_superuser(
        site,
        cluster,
        "SET allow_system_table_mods = on; CREATE EXTENSION citext; "
        "UPDATE pg_extension SET extname = 'vanished' WHERE extname = 'citext'",
    )
    with pytest.raises(InvalidError, match="no extension vanished, which database defaultdb has"):
        site.upgrade(cluster["id"])
    assert version_of(uri) == site.older


def test_refusal_after_a_check_that_took_long_takes_the_version_back(site: Site) -> None:
    """The check is stopped for so long that the request is answered without it."""
    cluster = site.made("late")
    id, uri = cluster["id"], cluster["connection"]["uri"]
    folder = Layout(site.running.data_dir).clusters / id / "upgrade-check"
    with psycopg.connect(uri, autocommit=True) as connection, ThreadPoolExecutor(1) as threads:
        asked = threads.submit(site.upgrade, id)
        [check, *_] = wait_until("it is checked", 30, lambda: processes.below(folder))
        os.kill(check.pid, signal.SIGSTOP)
        connection.execute("SELECT pg_create_logical_replication_slot('feed', 'pgoutput')")
        asked.result()
        wait_until("it is refused", 60, lambda: site.ends(id))
        assert connection.execute("SELECT 42").fetchone() == (42,), "the server has gone on"
    assert "was not upgraded to PostgreSQL" in site.ends(id)[0]
    assert "the replication slot feed would not come along: drop it" in site.ends(id)[0]
    assert site.settled(id)["version"] == site.older == version_of(uri)
    assert site.remains(id) == []


def test_rehearsal_leaves_the_cluster_as_it_is_and_says_what_would_happen(site: Site) -> None:
    cluster = site.made("tried")
    id, uri = cluster["id"], cluster["connection"]["uri"]
    run(uri, *OWNED)
    done = site.running.run("cluster", "upgrade", "tried", site.newer, "--rehearse", "--output", "json")
    assert done.returncode == 0, done.stderr
    found = site.cluster(id)["cenote"]["rehearsal"]
    print(found)
    assert found["state"] == "passed", found
    assert found["seconds"] > 0
    assert found["findings"] == []
    assert site.cluster(id)["version"] == site.older == version_of(uri)
    assert any(text.startswith("rehearsed an upgrade") for text in site.summaries(id))

    # What is found only in the fork; the request itself is refused for all else.
    asked = site.client.databases.rehearse_upgrade(id, {"version": site.newer})["rehearsal"]
    assert asked["state"] == "running"
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (what regproc)")
    with pytest.raises(BusyError, match="being rehearsed already"):
        site.client.databases.rehearse_upgrade(id, {"version": site.newer})

    def over() -> Any:
        found = site.cluster(id)["cenote"]["rehearsal"]
        return found if found["state"] != "running" else None

    found = wait_until("the second rehearsal is over", 120, over)
    assert found["state"] == "failed"
    assert "would fail" in found["reason"]
    assert "reg" in found["reason"]
    again = site.running.run("cluster", "upgrade", "tried", site.newer, "--rehearse")
    assert again.returncode != 0
    assert "tried" in without_forks(site)

    # A fork ends with its source, and a rehearsal with its fork.
    run(uri, "DROP TABLE kept")
    site.client.databases.rehearse_upgrade(id, {"version": site.newer})
    [fork] = site.client.request("GET", "/v2/databases?name=tried-rehearsal")["databases"]
    site.client.databases.destroy_cluster(fork["id"])
    found = wait_until("the third rehearsal is over", 10, over)
    assert "its fork was deleted" in found["reason"]
    site.client.databases.rehearse_upgrade(id, {"version": site.newer})
    site.client.databases.destroy_cluster(id)
    assert "tried" not in without_forks(site)


def without_forks(site: Site) -> list[str]:
    """Wait until no fork is there on which an upgrade is rehearsed; return the names of all clusters."""

    def names() -> list[str]:
        found: list[str] = site.names()
        return [] if any("rehearsal" in name for name in found) else [*found, ""]

    return wait_until("the forks are gone", 60, names)


def test_kill_at_a_random_moment_loses_nothing(site: Site) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    assert major_upgrade.killed(site, 3, random.Random(seed)) == []


@pytest.mark.skipif(not NEWER_BACKUPS.is_dir(), reason="needs a pgBackRest that reads both versions")
def test_a_full_backup_follows_and_former_ones_stay() -> None:
    with upgrading.site(backups=True, clusters=2) as site:
        cluster = site.made("kept")
        id, uri = cluster["id"], cluster["connection"]["uri"]
        run(uri, *GOODS)

        def backups() -> list[dict[str, str]]:
            try:
                found = site.client.request("GET", f"/v2/databases/{id}/backups")["backups"]
            except BusyError:
                return []
            return [one["cenote"] for one in found]

        before = wait_until("it is backed up", 120, backups)
        site.upgrade(id)
        site.settled(id)
        wait_until("the new version is backed up", 180, lambda: len(backups()) > len(before))
        assert [one["type"] for one in backups()] == ["full", "full"]
        wait_until("nothing is missing", 120, lambda: not site.cluster(id)["cenote"]["reason"])
        assert site.cluster(id)["cenote"]["health"] == "healthy"


def test_command_waits_and_says_how_far_it_is(site: Site) -> None:
    site.made("command")
    done = site.running.run("cluster", "upgrade", "command", site.newer)
    assert done.returncode == 0, done.stderr
    assert f"Upgraded cluster command from PostgreSQL {site.older} to {site.newer}" in done.stderr
    assert f"PostgreSQL is being upgraded to {site.newer}" in done.stderr
    refused = site.running.run("cluster", "upgrade", "command", site.older)
    assert refused.returncode != 0
    assert "no way leads back" in refused.stderr
