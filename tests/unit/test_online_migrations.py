"""What the rules of online migrations refuse, and how one ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from cenote.agent.migration_target import emptying, subscribing
from cenote.errors import Busy, Conflict, Invalid, NotFound
from cenote.host.source_answers import in_short
from cenote.model.by_sql import BySql, SeenDatabase
from cenote.model.migrations import (
    Method,
    MigrationReport,
    MigrationSource,
    MigrationStatus,
    OnlineMigration,
    Wish,
)
from cenote.model.records import BackupPlan, ClusterStatus, Database
from cenote.model.status_records import NodeStatus
from cenote.rules import databases, deletions, migration_checks, online_migrations
from cenote.rules.migration_checks import SourceDatabase, SourceServer, SourceTable, TargetServer
from tests.support.etcd import bare_cluster

CLUSTER = bare_cluster("one", 10_000)
AT = datetime(2026, 1, 1, tzinfo=UTC)
MIGRATION = OnlineMigration(
    id=uuid4(),
    source=MigrationSource(host="old", port=5432, dbname="postgres", username="u", sealed_password="s"),
    asked_at=AT,
    databases=("shop",),
)
MIGRATING = replace(CLUSTER, online_migration=MIGRATION)


def seen(**fields: Any) -> NodeStatus:
    return NodeStatus(reached=1, at=AT, migration=MigrationReport(id=MIGRATION.id, **fields))


# -- The source


@pytest.mark.parametrize(
    "host",
    [
        *("/run/postgresql", "@abstract", "a,b", "", "a b", "-x", "x" * 300, "a\n", "a\0b", "127.1"),
        *("x" * 64, f"{'x' * 64}.example.com", "a..b", ".a", "."),
        *("2001:db8::1%a,b", "2001:db8::1%/run", "2001:db8::1%\0", "192.0.2.1%a"),
    ],
)
def test_a_host_is_never_a_socket_or_a_list_or_what_no_resolver_takes(host: str) -> None:
    with pytest.raises(Invalid, match=r"source\.host"):
        online_migrations.check_source(host, 5432, "d", "u", "p")


@pytest.mark.parametrize(
    "host", ["db.example.com", "db.example.com.", "192.0.2.1", "2001:db8::1", "fe80::1%eth0", "db_1"]
)
def test_names_and_addresses_are_hosts(host: str) -> None:
    online_migrations.check_source(host, 5432, "d", "u", "p")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"port": 0}, "port"),
        ({"dbname": "a\0"}, "dbname"),
        ({"username": ""}, "username"),
        ({"password": "\0"}, "password"),
    ],
)
def test_what_libpq_would_misread_is_refused(change: dict[str, Any], named: str) -> None:
    given: dict[str, Any] = {
        "host": "h",
        "port": 5432,
        "dbname": "d",
        "username": "u",
        "password": "p",
    } | change
    with pytest.raises(Invalid, match=rf"source\.{named}"):
        online_migrations.check_source(**given)


@pytest.mark.parametrize("ignored", [["a\0"], ["a", ""], ["é" * 32], ["a"] * 1001])
def test_ignored_databases_are_names_of_databases(ignored: list[str]) -> None:
    online_migrations.check_ignored(["a", "é" * 31])
    with pytest.raises(Invalid, match="ignore_dbs"):
        online_migrations.check_ignored(ignored)


# -- The same again


@pytest.mark.parametrize(
    ("cluster", "source", "ignored", "full", "expected"),
    [
        (MIGRATING, {}, (), False, True),
        (MIGRATING, {"sealed_password": "sealed anew"}, (), False, True),
        (MIGRATING, {"host": "other"}, (), False, False),
        (MIGRATING, {"tls": False}, (), False, False),
        (MIGRATING, {}, ("shop",), False, False),
        (MIGRATING, {}, (), True, False),
        (CLUSTER, {}, (), False, False),
        (replace(CLUSTER, online_migration=replace(MIGRATION, wish=Wish.STOP)), {}, (), False, False),
    ],
)
def test_one_that_is_asked_for_again_is_known(
    cluster: Any, source: dict[str, Any], ignored: tuple[str, ...], full: bool, expected: bool
) -> None:
    asked = replace(MIGRATION.source, **source)
    found = online_migrations.is_repeated(cluster, asked, ignored, full_identity=full)
    assert found is expected


# -- The checks

TABLE = SourceTable("public", "goods")
DATABASE = SourceDatabase("shop", tables=(TABLE,), extensions=frozenset({"hstore"}))
SOURCE = SourceServer(version=150_000, user="u", databases=(DATABASE,))
TARGET = TargetServer(version=150_000, extensions=frozenset({"hstore"}))


def judged(source: SourceServer = SOURCE, target: TargetServer = TARGET, **options: Any) -> Any:
    return migration_checks.judge(
        source, target, options.get("ignored", ()), full_identity=options.get("full_identity", False)
    )


def with_database(**fields: Any) -> SourceServer:
    return SourceServer(
        **fields_of(SOURCE) | {"databases": (SourceDatabase(**fields_of(DATABASE) | fields),)}
    )


def fields_of(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}


def test_nothing_is_in_the_way_of_what_can_be_migrated() -> None:
    verdict = judged()
    assert (verdict.problems, verdict.warnings) == ((), ())
    assert (verdict.method, verdict.databases) == (Method.LOGICAL, ("shop",))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"version": 160_000}, "the source is PostgreSQL 16, and the cluster 15"),
        ({"version": 110_000}, "12 is the oldest"),
        ({"in_recovery": True}, "name its primary"),
        ({"pooler": True}, "the direct port"),
        ({"free_slots": 1}, "1 free replication slots, and 2 are needed"),
        ({"free_senders": 0}, "raise max_wal_senders"),
        ({"databases": ()}, "no database to migrate"),
    ],
)
def test_what_is_in_the_way_on_the_source_is_named(source: dict[str, Any], words: str) -> None:
    assert words in "; ".join(judged(SourceServer(**fields_of(SOURCE) | source)).problems)


@pytest.mark.parametrize(
    ("database", "words"),
    [
        ({"name": "postgres"}, "the cluster keeps its own: add it to ignore_dbs"),
        ({"name": "a b"}, "is not possible here"),
        ({"name": "template1"}, "is not possible here"),
        ({"open": False}, "does not take connections"),
        ({"extensions": frozenset({"postgis"})}, "does not offer postgis, which database shop has"),
        ({"tables": (SourceTable("public", "x", readable=False),)}, "cannot read public.x of database shop"),
        ({"tables": (SourceTable("public", "x", hidden=True),)}, "row-level security hides rows of public.x"),
    ],
)
def test_what_is_in_the_way_in_a_database_is_named(database: dict[str, Any], words: str) -> None:
    source = with_database(**database)
    assert words in "; ".join(judged(source).problems)
    assert "no database to migrate" in judged(source, ignored=[source.databases[0].name]).problems[0]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"contents": {"shop": ("table public.x",)}}, "is not empty: it has table public.x"),
        (
            {"version": 140_000, "newest": 14},
            "15 or newer, which is not installed here, where 14 is the newest",
        ),
        ({"version": 140_000, "newest": 17}, "migrate into a cluster of version 15 or newer"),
        ({"workers": 1}, "max_logical_replication_workers is 1, and 2 are needed"),
        ({"free_mib": -1}, "MiB left"),
    ],
)
def test_what_is_in_the_way_on_the_cluster_is_named(target: dict[str, Any], words: str) -> None:
    found = judged(target=TargetServer(**fields_of(TARGET) | target))
    assert words in "; ".join(found.problems)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"wal_level": "replica"}, "set wal_level = logical"),
        ({"wal_level": "replica", "is_rds": True}, "set rds.logical_replication = 1"),
        ({"can_replicate": False, "is_rds": True}, "GRANT rds_replication TO u"),
        (
            {"databases": (SourceDatabase("shop", tables=(SourceTable("a", "b", owned=False),)),)},
            "does not own a.b",
        ),
    ],
)
def test_a_source_that_cannot_replicate_is_dumped(source: dict[str, Any], words: str) -> None:
    found = judged(SourceServer(**fields_of(SOURCE) | source))
    assert (found.method, found.problems) == (Method.DUMP, ())
    assert words in found.warnings[-1]


def test_tables_without_a_key_follow_only_by_choice() -> None:
    keyless = SourceTable("public", "log", keyed=False)
    unlogged = SourceTable("public", "cache", unlogged=True)
    database = SourceDatabase("shop", tables=(TABLE, keyless, unlogged))
    assert migration_checks.published(database, full_identity=False) == (TABLE,)
    assert migration_checks.published(database, full_identity=True) == (TABLE, keyless)
    assert migration_checks.copied_late(database, full_identity=True) == (unlogged,)
    words = " ".join(judged(with_database(tables=database.tables, large_objects=2)).warnings)
    assert "without a primary key are copied at the end, and not before: public.log" in words
    assert "Unlogged tables are copied at the end: public.cache" in words
    assert "The 2 large objects" in words


def test_databases_of_providers_are_passed_over() -> None:
    found = judged(
        SourceServer(**fields_of(SOURCE) | {"databases": (DATABASE, SourceDatabase("rdsadmin", open=False))})
    )
    assert (found.problems, found.databases) == ((), ("shop",))


# -- What else may go on


def test_only_one_goes_on_at_a_time() -> None:
    with pytest.raises(Conflict):
        online_migrations.check(MIGRATING, seen(), ClusterStatus.ONLINE)
    online_migrations.check(CLUSTER, seen(), ClusterStatus.ONLINE)
    with pytest.raises(Busy, match="cluster is creating"):
        online_migrations.check(CLUSTER, None, ClusterStatus.CREATING)
    with pytest.raises(Busy, match="finish it or stop it"):
        online_migrations.check_none(MIGRATING)


def test_a_database_that_is_filled_is_not_removed() -> None:
    shop = replace(MIGRATING, databases=(Database(name="shop"), Database(name="own")))
    with pytest.raises(Busy, match="under way"):
        databases.remove_database(shop, "shop")
    assert [one.name for one in databases.remove_database(shop, "own").databases] == ["shop"]
    assert databases.remove_database(replace(shop, online_migration=None), "shop").database("shop") is None


def test_a_copy_that_would_take_the_changes_is_refused() -> None:
    for moment in (None, AT):
        with pytest.raises(Busy, match="into one is under way"):
            online_migrations.check_copy(MIGRATING, moment)
    online_migrations.check_copy(MIGRATING, AT - timedelta(seconds=1))
    online_migrations.check_copy(CLUSTER, None)


def test_a_cluster_that_gets_former_data_gives_its_migration_up() -> None:
    node = CLUSTER.nodes[0]
    deleted = replace(MIGRATING, deleted_at=AT, backups=BackupPlan(sealed_passphrase="s"))
    for back in (
        deletions.undeleted(deleted, "one", CLUSTER.nodes),
        deletions.undeleted_from_backups(deleted, "one", (node,), (), AT, "m"),
    ):
        assert back.online_migration == replace(MIGRATION, wish=Wish.CANCEL)
    assert deletions.undeleted(replace(deleted, online_migration=None), "one", ()).online_migration is None


# -- The work


def test_a_subscription_waits_for_standbys_where_there_are_some() -> None:
    two = replace(CLUSTER, nodes=(*CLUSTER.nodes, replace(CLUSTER.nodes[0], name="node-2", host="there")))
    for cluster, version, words in (
        (CLUSTER, "15", "synchronous_commit = 'off')"),
        (two, "15", "synchronous_commit = 'on')"),
        (two, "17", "synchronous_commit = 'on', password_required = false)"),
    ):
        statements = [one.as_string(None) for one in subscribing(cluster, version, "s", "host=a")]
        assert words in statements[1]
        assert statements[0].endswith(" SUPERUSER")
        assert statements[-1].endswith(" NOSUPERUSER")


def test_a_first_copy_is_tried_again_for_ten_minutes_and_anew_after_long_work() -> None:
    patience, long = online_migrations.Patience(), online_migrations.PATIENCE
    assert not patience.is_over(0, 1, of_program=False)
    assert not patience.is_over(2, long, of_program=False)
    assert patience.is_over(long, long + 2, of_program=False)
    assert not patience.is_over(long, 2 * long + 1, of_program=False)
    for over in (False, False, True):
        assert patience.is_over(2 * long, 2 * long + 2, of_program=True) is over


# -- The end


def test_it_can_be_finished_once_it_is_syncing() -> None:
    id = str(MIGRATION.id)
    with pytest.raises(Busy, match="not complete"):
        online_migrations.wished(MIGRATING, id, Wish.FINISH, seen(), AT)
    with pytest.raises(NotFound):
        online_migrations.wished(MIGRATING, str(uuid4()), Wish.STOP, seen(), AT)
    syncing = seen(status=MigrationStatus.SYNCING)
    finishing = online_migrations.wished(MIGRATING, id.upper(), Wish.FINISH, syncing, AT)
    assert finishing.online_migration == replace(MIGRATION, wish=Wish.FINISH, wished_at=AT)
    assert online_migrations.wished(finishing, id, Wish.STOP, syncing, AT) is finishing
    cancelled = online_migrations.wished(finishing, id, Wish.CANCEL, syncing, AT)
    assert cancelled.online_migration is not None
    assert cancelled.online_migration.wish is Wish.CANCEL


def test_databases_are_opened_before_it_is_done_and_the_password_goes() -> None:
    assert online_migrations.closed_databases(MIGRATING) == ("shop",)
    assert online_migrations.ended(MIGRATING, {"node-1": seen()}) is MIGRATING
    opened = online_migrations.ended(MIGRATING, {"node-1": seen(ready=True)})
    assert online_migrations.closed_databases(opened) == ()
    assert online_migrations.active(opened) is not None
    assert online_migrations.note_of_end(opened) is None
    done = online_migrations.ended(opened, {"node-1": seen(ready=True, status=MigrationStatus.DONE)})
    assert online_migrations.active(done) is None
    assert done.online_migration is not None
    assert done.online_migration.source.sealed_password == ""
    note = online_migrations.note_of_end(done)
    assert note is not None
    assert note.what == "online migration from old is done"
    with pytest.raises(Invalid, match="it is done"):
        online_migrations.wished(done, str(MIGRATION.id), Wish.FINISH, seen(), AT)
    assert online_migrations.wished(done, str(MIGRATION.id), Wish.STOP, seen(), AT) is done
    assert online_migrations.report(done.online_migration, None).status is MigrationStatus.DONE


def test_the_report_of_another_migration_says_nothing() -> None:
    other = NodeStatus(reached=1, at=AT, migration=MigrationReport(id=uuid4(), status=MigrationStatus.DONE))
    assert online_migrations.ended(MIGRATING, {"node-1": other}) is MIGRATING
    assert online_migrations.report(MIGRATION, other).status is MigrationStatus.RUNNING


def test_the_agent_of_a_node_goes_on_with_its_own_report_or_with_that_all_is_there() -> None:
    def begun(**statuses: NodeStatus | None) -> MigrationReport:
        return online_migrations.begun(MIGRATION, "new", statuses)

    own, ready = seen(reason="own"), seen(ready=True)
    other = replace(own, migration=MigrationReport(id=uuid4(), ready=True))
    assert [one.name for one in begun(new=None, old=seen(reason="old")).databases] == ["shop"]
    assert begun(new=own, old=seen(reason="old")).reason == "own"
    assert begun(new=own, old=other).reason == "own"
    assert begun(new=own, old=ready) == begun(new=None, old=ready) == ready.migration


def test_tables_are_emptied_without_their_triggers_which_would_run_as_superuser() -> None:
    assert [one.as_string(None) for one in emptying([("public", "t"), ('we"ird', "T")])] == [
        'ALTER TABLE ONLY "public"."t" DISABLE TRIGGER ALL',
        'TRUNCATE ONLY "public"."t"',
        'ALTER TABLE ONLY "we""ird"."T" DISABLE TRIGGER ALL',
        'TRUNCATE ONLY "we""ird"."T"',
    ]


def test_databases_are_listed_once_a_report_or_the_record_has_them() -> None:
    by_sql = BySql(databases=(SeenDatabase(name="shop", listed=True),))
    status, both = NodeStatus(reached=1, at=AT, by_sql=by_sql), ["shop", "other"]
    assert online_migrations.are_listed(["shop"], both, MIGRATING, status)
    assert not online_migrations.are_listed(["shop"], both, MIGRATING, None)
    assert not online_migrations.are_listed(both, both, MIGRATING, status)
    assert online_migrations.are_listed(both, ["shop"], MIGRATING, status)
    recorded = replace(MIGRATING, databases=(*MIGRATING.databases, Database(name="other")))
    assert online_migrations.are_listed(both, both, recorded, status)


def test_databases_that_were_dropped_are_listed_until_a_report_is_without_them() -> None:
    by_sql = BySql(databases=(SeenDatabase(name="shop", listed=True), SeenDatabase(name="mine", listed=True)))
    before = NodeStatus(reached=1, at=AT, by_sql=by_sql)
    after = replace(before, by_sql=replace(by_sql, databases=by_sql.databases[1:]))
    assert not online_migrations.are_listed(["shop"], ["mine"], MIGRATING, before)
    assert online_migrations.are_listed(["shop"], ["mine"], MIGRATING, after)
    # One of the record stays in the list, with the words that it is gone.
    gone = replace(by_sql, databases=(SeenDatabase(name="shop", gone="was dropped by SQL"),))
    recorded = replace(MIGRATING, databases=(*MIGRATING.databases, Database(name="shop")))
    assert online_migrations.are_listed(["shop"], [], recorded, replace(before, by_sql=gone))


def test_what_a_source_has_too_much_of_is_named_in_a_message_of_limited_length() -> None:
    """It decides on the names, and how many there are."""
    long = SourceDatabase("x" * 1_000_000, tables=(TABLE,))
    assert len(judged(replace_databases(long)).problems[0]) < 300
    tables = tuple(SourceTable("s" * 1000, f"{number}" * 1000, readable=False) for number in range(1000))
    assert len("".join(judged(replace_databases(SourceDatabase("shop", tables=tables))).problems)) < 2000
    many = [SourceDatabase(f"shop{number}", open=False) for number in range(200)]
    problems = judged(replace_databases(*many)).problems
    assert (len(problems), problems[-1]) == (51, "and 153 more")  # 200, and the three of its slots
    too_many = judged(replace_databases(*many, DATABASE)).problems
    assert too_many[0].startswith("it has 201 databases, and 200 can be migrated at a time")
    assert len(judged(ignored=[f"no{number}" for number in range(1000)]).warnings) == 1


def test_what_a_source_says_of_itself_is_limited_in_remarks() -> None:
    strange = SourceDatabase("shop", encoding="x" * 1_000_000, collation="\x1b[2J", tables=(TABLE,))
    server = SourceServer(**fields_of(replace_databases(strange)) | {"user": "u" * 1_000_000})
    server = SourceServer(**fields_of(server) | {"can_replicate": False})
    warnings = judged(server).warnings
    assert max(map(len, warnings)) == 1501
    assert all(line.isprintable() for line in warnings)


def test_what_a_source_says_is_one_line_that_controls_no_terminal() -> None:
    assert in_short("a\r\nb\t\x1b]0;title\x07 \x9b2J") == "a b �]0;title� �2J"
    assert in_short("é" * 600) == "é" * 500 + "…"


@pytest.mark.parametrize("name", ["pg_shop", "cenote", "none", "x" * 64])
def test_a_database_that_the_api_would_not_list_is_not_migrated(name: str) -> None:
    [problem] = judged(replace_databases(SourceDatabase(name))).problems
    assert "is not possible here: add it to ignore_dbs" in problem


def replace_databases(*databases: SourceDatabase) -> SourceServer:
    return SourceServer(**fields_of(SOURCE) | {"databases": databases})
