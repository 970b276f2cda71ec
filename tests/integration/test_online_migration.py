"""Online migrations of plain servers: what arrives, what the source keeps, and who may enter meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cenote_client import ConflictError, InvalidError
from tests.support import pgbench, upgrading
from tests.support.importing import checksums, reading_all, rows, uri_of
from tests.support.migrating import Migration, log_size, login, state, written
from tests.support.plain_postgres import PlainPostgres, plain_postgres
from tests.support.service import answer_of, online_cluster
from tests.support.service_processes import members
from tests.support.upgrading import Site
from tests.support.waiting import wait_until

NASTY = (Path(__file__).parents[1] / "support" / "nasty.sql").read_text()
KEYLESS = "CREATE TABLE keyless (n int); INSERT INTO keyless SELECT generate_series(1, 10);"
# Notes who applies changes; it would run for those of a subscription, too.
WATCHED = """
CREATE TABLE watched (id int PRIMARY KEY, who text);
CREATE TABLE seen (who text, super bool);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.seen SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user;
    RETURN NEW;
END $$;
CREATE TRIGGER note BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE watched ENABLE ALWAYS TRIGGER note;
CREATE FUNCTION who() RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN current_user || (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)::text; END $$;
CREATE TABLE applied (id int PRIMARY KEY, who text GENERATED ALWAYS AS (public.who()) STORED);
INSERT INTO applied VALUES (1);
"""

# What pg_dump is told of a view has a trigger, too, which comes before the tables without a key are emptied.
HIDDEN = """
CREATE TABLE keyed (n int PRIMARY KEY);
CREATE TABLE keyless (n int);
INSERT INTO keyless VALUES (1);
CREATE VIEW zoo AS SELECT 1 AS n;
CREATE OR REPLACE FUNCTION pg_catalog.pg_get_viewdef(oid) RETURNS text LANGUAGE sql AS $$
SELECT ' SELECT 1 AS n; CREATE TABLE public.emptied (who name);'
    ' CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS'
    ' ''BEGIN INSERT INTO public.emptied SELECT current_user; RETURN NULL; END'';'
    ' CREATE TRIGGER note BEFORE TRUNCATE ON public.keyless EXECUTE FUNCTION public.note();' $$;
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with upgrading.site() as found:
        yield found


@pytest.fixture(scope="module")
def source() -> Iterator[PlainPostgres]:
    with plain_postgres(log_statement="all", log_line_prefix="%a|%m ") as started:
        started.run("CREATE DATABASE nasty")
        started.run('ALTER DATABASE nasty SET search_path = public, "we""ird schema"')
        started.run(NASTY, "nasty")
        started.run("DROP EXTENSION postgres_fdw CASCADE", "nasty")  # which a cluster does not offer
        started.run(KEYLESS + WATCHED, "nasty")
        started.run("CREATE DATABASE bank")
        pgbench.initialize(started.uri("bank"))
        yield started


def test_databases_follow_under_load_and_arrive_with_all_that_is_in_them(
    site: Site, source: PlainPostgres
) -> None:
    cluster = site.made("target")
    migration = Migration(site.client, cluster["id"])
    source.run("CREATE EXTENSION postgres_fdw", "nasty")
    with pytest.raises(InvalidError, match="does not offer postgres_fdw, which database nasty has"):
        migration.start(source)
    source.run("DROP EXTENSION postgres_fdw", "nasty")
    before, logged = state(source, ("nasty", "bank")), log_size(source)

    with pgbench.bench(source.uri("bank"), clients=2, rate=50) as bench:
        migration.start(source)
        syncing = migration.reaches("syncing")
        source.run("INSERT INTO watched VALUES (1); INSERT INTO applied VALUES (2)", "nasty")
        source.run("INSERT INTO keyless VALUES (1000)", "nasty")
        with pytest.raises(psycopg.OperationalError, match=r"pg_hba.conf rejects"):
            rows(uri_of(cluster, "bank"), "SELECT")
    assert not bench.failed
    assert {one["name"]: one["step"] for one in syncing["cenote"]["databases"]} == {
        "bank": "syncing",
        "nasty": "syncing",
    }
    assert "keyless" in " ".join(syncing["cenote"]["warnings"])
    done = migration.finish()
    listed = site.client.request("GET", f"/v2/databases/{cluster['id']}/dbs")["dbs"]
    print(done)
    assert {"bank", "nasty"} <= {one["name"] for one in listed}

    bank = uri_of(cluster, "bank")
    assert checksums(bank) == checksums(source.uri("bank"))
    assert answer_of(bank, "SELECT count(*) FROM pgbench_history") >= bench.done > 0
    nasty = source.uri("nasty")
    with reading_all(cluster, "app"):
        there = checksums(uri_of(cluster, "nasty"))
        here = checksums(nasty)
        assert {name for name in here if here[name] != there.get(name)} == {
            ("public", "applied"),  # says who has applied it
            ("public", "totals"),
        } - {name for name in [("public", "totals")] if here[name] == there.get(name)}
        ask = "SELECT convert_from(lo_get(4711), 'LATIN1'), (SELECT last_value FROM numbers)"
        assert rows(uri_of(cluster, "nasty"), ask) == rows(nasty, ask)
        assert rows(uri_of(cluster, "nasty"), "SELECT * FROM applied ORDER BY id") == [
            (1, "cenote_migrationfalse"),
            (2, "cenote_migrationfalse"),
        ]
    # The triggers came when nothing was applied any more, and what follows is the customer's own.
    assert rows(uri_of(cluster, "nasty"), "SELECT * FROM seen") == rows(nasty, "SELECT * FROM seen")
    assert rows(login(cluster["connection"]["uri"], "app", "old", "nasty"), "SELECT count(*) FROM people")
    owners = (
        "SELECT relname, relowner::regrole::text FROM pg_class"
        " WHERE relname IN ('people', 'totals') ORDER BY 1"
    )
    assert rows(uri_of(cluster, "nasty"), owners) == rows(nasty, owners)
    left = "SELECT rolname FROM pg_roles WHERE rolname IN ('cenote_migration', 'rds_superuser', 'chief')"
    assert rows(bank, left) == []

    assert state(source, ("nasty", "bank")) == before
    assert "CREATE PUBLICATION" in (source.folder / "source.log").read_text()
    assert written(source, logged) == []
    site.client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_one_that_is_given_up_leaves_neither_side_anything(site: Site, source: PlainPostgres) -> None:
    cluster = online_cluster(site.client, "given-up", version=site.newer)
    uri = cluster["connection"]["uri"]
    migration = Migration(site.client, cluster["id"])
    [(identifier,)] = rows(uri, "SELECT system_identifier FROM pg_control_system()")
    # As of a subscription of the customer's own.
    others = f"pg_99999_sync_16384_{identifier}"
    source.run(f"SELECT pg_create_logical_replication_slot('{others}', 'pgoutput')", "bank")
    before, logged = state(source, ("nasty", "bank")), log_size(source)
    for seconds in (0.5, 2.0, None):
        migration.start(source)
        if seconds is None:
            migration.reaches("syncing")
            with pytest.raises(ConflictError, match="under way"):
                Migration(site.client, cluster["id"]).start(source, ignore_dbs=["nasty"])
            with pytest.raises(ConflictError, match="under way"):
                Migration(site.client, cluster["id"]).start(source, password="another")
            assert Migration(site.client, cluster["id"]).start(source)["id"] == migration.id
        else:
            time.sleep(seconds)
        migration.stop(discard=seconds is None)
        canceled = migration.reaches("canceled")
        assert "could not be cleaned" not in str(canceled)
        assert state(source, ("nasty", "bank")) == before
    assert written(source, logged) == []
    assert rows(uri, "SELECT datname FROM pg_database WHERE datname IN ('bank', 'nasty')") == []
    assert rows(uri, "SELECT rolname FROM pg_roles WHERE rolname IN ('cenote_migration', 'app', 'bob')") == []

    # Stopped once it is syncing, it keeps what has come, as the hosted product does; and 17 takes 15.
    migration.start(source, ignore_dbs=["nasty"], cenote={"replica_identity_full": True})
    migration.reaches("syncing")
    source.run("UPDATE pgbench_history SET delta = 1", "bank")
    migration.stop()
    done = migration.reaches("done")
    assert "pgbench_history" not in str(done["cenote"]["warnings"])
    assert checksums(uri_of(cluster, "bank")) == checksums(source.uri("bank"))
    assert state(source, ("nasty", "bank")) == before[:4] + state(source, ("nasty", "bank"))[4:]
    source.run(f"SELECT pg_drop_replication_slot('{others}')")
    site.client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_a_source_that_may_not_replicate_is_dumped(site: Site, source: PlainPostgres) -> None:
    cluster = site.made("dumped")
    source.run("CREATE ROLE reader LOGIN PASSWORD 'reads' IN ROLE pg_read_all_data")
    migration = Migration(site.client, cluster["id"])
    with pytest.raises(InvalidError, match="password authentication failed"):
        migration.start(source, user="reader", password="wrong")
    with pytest.raises(InvalidError, match=r"does not support SSL.*: disable_ssl"):
        migration.start(source, user="reader", password="reads", disable_ssl=False)
    begun = migration.start(source, user="reader", password="reads", ignore_dbs=["nasty", "nope"])
    assert begun["cenote"]["method"] == "dump"
    warnings = " ".join(begun["cenote"]["warnings"])
    assert "user reader may not replicate" in warnings
    assert "no database 'nope'" in warnings
    migration.reaches("done")
    assert checksums(uri_of(cluster, "bank")) == checksums(source.uri("bank"))
    source.run("DROP ROLE reader")
    with pytest.raises(InvalidError, match="database bank of the cluster is not empty"):
        migration.start(source, ignore_dbs=["nasty"])
    site.client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_what_a_source_may_not_do(site: Site) -> None:
    """One whose owner is an attacker: it names tables that are not its own, or lets this host in anyway."""
    cluster = site.made("attacked")
    migration = Migration(site.client, cluster["id"])
    with plain_postgres() as source:
        source.run("CREATE DATABASE evil")
        source.run("CREATE TABLE t (n int PRIMARY KEY)", "evil")
        source.run(
            "CREATE FUNCTION more() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO pg_catalog.pg_publication_rel (oid, prpubid, prrelid)"
            " SELECT 9999, oid, 'pg_catalog.pg_authid'::regclass FROM pg_catalog.pg_publication;"
            " END $$; CREATE EVENT TRIGGER more ON ddl_command_end WHEN tag IN ('CREATE PUBLICATION')"
            " EXECUTE FUNCTION more()",
            "evil",
        )
        before = state(source, ("evil",))
        migration.start(source)
        failed = migration.reaches("error")
        assert failed["cenote"]["reason"] == "the source publishes pg_authid, which did not come from it"
        assert state(source, ("evil",)) == before

        hba = source.folder / "source" / "pg_hba.conf"
        hba.write_text("host all all 127.0.0.1/32 trust\n")
        source.run("SELECT pg_reload_conf()")
        with pytest.raises(InvalidError, match="asks this user for no password"):
            migration.start(source)
    site.client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_a_trigger_that_a_source_hides_does_not_run_as_superuser(site: Site) -> None:
    cluster = site.made("hidden")
    migration = Migration(site.client, cluster["id"])
    with plain_postgres() as source:
        source.run("CREATE DATABASE evil")
        source.run(HIDDEN, "evil")
        migration.start(source)
        migration.reaches("syncing")
        migration.finish()
    there = uri_of(cluster, "evil")
    assert rows(there, "SELECT n FROM keyless") == [(1,)]
    assert rows(there, "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'note'") == [("D",)]
    assert rows(there, "SELECT who FROM emptied") == []
    site.client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_what_a_source_says_is_limited(site: Site) -> None:
    """One that is made to fill the memory of whoever asks it, and the record of its migration."""
    cluster = site.made("flooded")
    migration = Migration(site.client, cluster["id"])
    with plain_postgres(allow_system_table_mods="on") as source:
        source.run("CREATE DATABASE evil")
        source.run(
            "INSERT INTO pg_extension SELECT 1000000 + n, 'x' || lpad(n::text, 62, '0'), 10, 2200, false, '1'"
            " FROM generate_series(1, 500000) n",
            "evil",
        )
        with pytest.raises(InvalidError, match="more than 32 MiB where names are asked for"):
            migration.start(source)
        source.run("DELETE FROM pg_extension WHERE oid > 1000000", "evil")

        [(definition,)] = rows(source.uri(), "SELECT pg_get_viewdef('pg_roles'::regclass)")
        source.run(
            "CREATE FUNCTION public.boom() RETURNS bool LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION '%', repeat('x', 5000000); END $$"
        )
        flooding = definition.replace("pg_authid.rolsuper", "public.boom() AS rolsuper")
        assert flooding != definition
        source.run(f"CREATE OR REPLACE VIEW pg_catalog.pg_roles AS {flooding}")
        with pytest.raises(InvalidError, match=r"the source refuses: x{500}…") as refused:
            migration.start(source)
        assert len(str(refused.value)) < 1000
    site.client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_a_slot_that_vanishes_during_the_first_copy_ends_the_migration(site: Site) -> None:
    cluster = site.made("slotless")
    migration = Migration(site.client, cluster["id"])
    slots = "SELECT slot_name, active_pid FROM pg_replication_slots WHERE slot_name LIKE 'online_%'"
    ready = f"{slots} AND confirmed_flush_lsn IS NOT NULL AND active_pid IS NOT NULL"
    with plain_postgres() as source:
        source.run("CREATE DATABASE shop")
        for number in range(12):
            source.run(f"CREATE TABLE goods_{number} (id int PRIMARY KEY)", "shop")
        before = state(source, ("shop",))
        migration.start(source)
        [(name, _)] = wait_until("there is a slot", 60, lambda: rows(source.uri("shop"), ready))
        with psycopg.connect(source.uri("shop")) as writing:
            # The copy of a table makes a slot, which waits for all who write.
            writing.execute("SELECT txid_current()")
            assert migration.now()["status"] == "running"

            def is_dropped() -> bool:
                with contextlib.suppress(psycopg.errors.ObjectInUse):
                    for _, pid in rows(source.uri("shop"), slots):
                        source.run(f"SELECT pg_terminate_backend({pid or 0})")
                        source.run(f"SELECT pg_drop_replication_slot('{name}')")
                return not rows(source.uri("shop"), slots)

            wait_until("the slot is dropped", 60, is_dropped)
            failed = migration.reaches("error")
        assert failed["cenote"]["reason"] == f"the slot {name} of the source is gone"
        assert state(source, ("shop",)) == before
    site.client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_a_cluster_that_is_deleted_leaves_the_source_clean(site: Site, source: PlainPostgres) -> None:
    cluster = site.made("deleted")
    before = state(source, ("bank",))
    migration = Migration(site.client, cluster["id"])
    migration.start(source, ignore_dbs=["nasty"], cenote={"replica_identity_full": True})
    migration.reaches("syncing")
    assert state(source, ("bank",)) != before
    site.client.request("DELETE", f"/v2/databases/{cluster['id']}")
    wait_until("the source is clean", 60, lambda: state(source, ("bank",)) == before)


def kill_agent(site: Site) -> None:
    agent = wait_until("there is an agent", 30, lambda: members(site.running).get("agent"))
    assert agent is not None
    os.kill(agent, signal.SIGKILL)


@pytest.mark.long
def test_an_agent_that_is_killed_goes_on(site: Site, source: PlainPostgres) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    moments = random.Random(seed)
    cluster = site.made("killed")
    migration = Migration(site.client, cluster["id"])
    with pgbench.bench(source.uri("bank"), clients=1, rate=20) as bench:
        migration.start(source, ignore_dbs=["nasty"])
        for _ in range(3):
            time.sleep(moments.uniform(0.2, 4))
            kill_agent(site)
        migration.reaches("syncing")
    assert not bench.failed
    site.client.request("POST", f"{migration.path}/{migration.id}/finish")
    for _ in range(2):
        time.sleep(moments.uniform(0, 2))
        kill_agent(site)
    migration.reaches("done")
    assert checksums(uri_of(cluster, "bank")) == checksums(source.uri("bank"))
    assert rows(source.uri(), "SELECT slot_name FROM pg_replication_slots") == []
    site.client.request("DELETE", f"/v2/databases/{cluster['id']}")
