"""What users may do on the real server: the administrator, owners, presets, replication, new passwords."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from msgspec.structs import replace
from psycopg import errors
from psycopg.sql import SQL

from cenote import rules
from cenote.engine import look
from cenote.engine.plan import grants
from cenote.host.inspector import Inspector
from cenote.model.records import ADMIN_USER, Access, Cluster, Database, Pool
from cenote.model.topology import writer_or_first
from tests.support import records, sessions
from tests.support.lab import Lab, Share

PAGE = Path(__file__).parents[2] / "docs" / "privileges.md"
REFUSED = errors.InsufficientPrivilege


class House(sessions.House):
    """A cluster with the users ``app`` and ``reader``."""

    async def become(self, cluster: Cluster) -> list[Any]:
        self.cluster = cluster
        return list(await self.lab.converge(cluster))

    async def preset(self, name: str, access: Access | None) -> None:
        await self.become(
            rules.change_user(self.cluster, name, allow_replication=None, access=access, sets_access=True)
        )

    async def replication(self, name: str, allowed: bool) -> None:
        await self.become(
            rules.change_user(self.cluster, name, allow_replication=allowed, access=None, sets_access=False)
        )


InHouse = Callable[[Callable[[House], Awaitable[None]]], None]


@pytest.fixture
def in_house(labs: Share) -> InHouse:
    """Run a scenario in a new house."""

    def run(scenario: Callable[[House], Awaitable[None]]) -> None:
        async def whole(lab: Lab) -> None:
            cluster = lab.new_cluster()
            users = (*cluster.users, records.user("app"), records.user("reader"))
            house = House(lab, replace(cluster, users=users))
            await lab.converge(house.cluster)
            async with house.sessions:
                await scenario(house)

        labs(whole)

    return run


@contextlib.contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(REFUSED):
        yield


# -- The administrator


def test_the_administrator_may_all_but_what_takes_a_superuser(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        [attributes] = await house.lab.rows(
            house.cluster,
            "SELECT rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolsuper FROM pg_roles"
            f" WHERE rolname = '{ADMIN_USER}'",
        )
        assert attributes == (True, True, True, True, False)
        await house.run(ADMIN_USER, "CREATE ROLE a_group")
        await house.run(ADMIN_USER, "CREATE DATABASE by_sql")
        for forbidden in ("COPY (SELECT 1) TO PROGRAM 'true'", "ALTER SYSTEM SET work_mem = '1MB'"):
            with refused():
                await house.run(ADMIN_USER, forbidden)

    in_house(scenario)


# -- Owners


def test_a_user_can_make_tables_in_a_database_of_its_own_and_not_in_the_default_one(
    in_house: InHouse,
) -> None:
    async def scenario(house: House) -> None:
        if int(house.lab.version) >= 15:
            with refused():
                await house.run("app", "CREATE TABLE mine (id int)")
        await house.become(rules.add_database(house.cluster, "shop", "app"))
        await house.run("app", "CREATE TABLE mine (id int)", "shop")

    in_house(scenario)


@pytest.mark.parametrize(
    "statement",
    ["GRANT CREATE ON SCHEMA public TO app", "CREATE SCHEMA app; GRANT ALL ON SCHEMA app TO app"],
)
def test_the_administrator_can_open_a_schema_to_a_user_as_documented(
    in_house: InHouse, statement: LiteralString
) -> None:
    assert statement in PAGE.read_text()

    async def scenario(house: House) -> None:
        await house.run(ADMIN_USER, statement)
        await house.run("app", "CREATE TABLE mine (id int)")

    in_house(scenario)


def test_a_database_is_given_to_another_owner_and_back(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        for owner in ("app", ADMIN_USER):
            await house.become(replace(house.cluster, databases=(Database(name="defaultdb", owner=owner),)))
            found = await house.lab.rows(
                house.cluster, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'defaultdb'"
            )
            assert found == [(owner,)]
            assert await house.lab.plan(house.cluster) == []

    in_house(scenario)


def test_the_databases_of_a_deleted_user_go_to_the_administrator(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.become(rules.add_database(house.cluster, "shop", "app"))
        await house.become(rules.remove_user(house.cluster, "app"))
        await house.run(ADMIN_USER, "CREATE TABLE mine (id int)", "shop")
        assert await house.lab.plan(house.cluster) == []

    in_house(scenario)


# -- Presets


async def shelves(house: House) -> None:
    """Two tables, one of the administrator's and one of an owner's, in schemas of both kinds."""
    await house.become(rules.add_database(house.cluster, "shop", "app"))
    admin = await house.connect(ADMIN_USER)
    await admin.execute("CREATE TABLE early (id serial)")
    await admin.execute("CREATE SCHEMA back; CREATE TABLE back.early (id serial)")
    app = await house.connect("app", "shop")
    await app.execute("CREATE TABLE early (id serial)")


async def more(house: House) -> None:
    """What is made after a grant."""
    admin = await house.connect(ADMIN_USER)
    await admin.execute("CREATE TABLE late (id serial)")
    await admin.execute("CREATE SCHEMA newer; CREATE TABLE newer.late (id serial)")
    app = await house.connect("app", "shop")
    await app.execute("CREATE TABLE late (id serial)")


TABLES = (
    ("defaultdb", "early"),
    ("defaultdb", "back.early"),
    ("shop", "early"),
    ("defaultdb", "late"),
    ("defaultdb", "newer.late"),
    ("shop", "late"),
)


async def allowed(house: House, statement: str) -> list[str]:
    """Return the tables with which the reader may do this."""
    found = []
    for database, table in TABLES:
        connection = await house.connect("reader", database)
        with contextlib.suppress(REFUSED):
            async with connection:
                await connection.execute(statement.format(table).encode())
            found.append(f"{database}.{table}")
    return found


EVERY_TABLE = [f"{database}.{table}" for database, table in TABLES]


def test_readonly_reads_what_is_there_and_what_comes_and_writes_nothing(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await shelves(house)
        await house.preset("reader", Access.READONLY)
        await more(house)
        assert await allowed(house, "SELECT * FROM {}") == EVERY_TABLE
        assert await allowed(house, "INSERT INTO {} DEFAULT VALUES") == []

    in_house(scenario)


def test_readwrite_changes_rows_and_no_table(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await shelves(house)
        await house.preset("reader", Access.READWRITE)
        await more(house)
        for statement in ("INSERT INTO {} DEFAULT VALUES", "UPDATE {} SET id = 2", "DELETE FROM {}"):
            assert await allowed(house, statement) == EVERY_TABLE
        assert await allowed(house, "DROP TABLE {}") == []

    in_house(scenario)


def test_a_preset_that_is_taken_away_leaves_nothing_behind(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await shelves(house)
        await house.preset("reader", Access.READWRITE)
        await house.preset("reader", Access.READONLY)
        await more(house)
        assert await allowed(house, "SELECT * FROM {}") == EVERY_TABLE
        assert await allowed(house, "DELETE FROM {}") == []
        await house.preset("reader", None)
        assert await allowed(house, "SELECT * FROM {}") == []
        assert await house.lab.rows(house.cluster, "SELECT * FROM cenote.made WHERE kind = 'grant'") == []

    in_house(scenario)


def test_a_preset_covers_users_and_databases_that_come_later(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.preset("reader", Access.READONLY)
        await house.become(rules.add_user(house.cluster, records.user("another")))
        await house.become(rules.add_database(house.cluster, "market", "another"))
        await house.run("another", "CREATE TABLE stalls (id int)", "market")
        await house.run("reader", "SELECT * FROM stalls", "market")
        assert await house.lab.plan(house.cluster) == []

    in_house(scenario)


def test_a_user_whose_things_a_preset_covers_can_be_deleted(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await shelves(house)
        await house.preset("reader", Access.READONLY)
        await house.become(rules.remove_user(house.cluster, "app"))
        await house.run("reader", "SELECT * FROM early", "shop")
        assert await house.lab.plan(house.cluster) == []

    in_house(scenario)


def test_a_preset_opens_no_catalog_with_verifiers(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.preset("reader", Access.READWRITE)
        for statement in ("SELECT rolpassword FROM pg_authid", "SELECT * FROM pg_subscription"):
            connection = await house.connect("reader")
            with refused():
                await connection.execute(statement.encode())
        connection = await house.connect("reader", "postgres")
        with refused():
            await connection.execute("SELECT * FROM cenote.made")

    in_house(scenario)


def test_an_owner_with_a_preset_keeps_what_it_owns(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await shelves(house)
        await house.preset("app", Access.READONLY)
        await house.preset("app", None)
        await house.run("app", "INSERT INTO early DEFAULT VALUES; DROP TABLE early", "shop")

    in_house(scenario)


def test_a_role_of_the_same_name_gets_its_grants_again(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await shelves(house)
        await house.preset("reader", Access.READONLY)
        before = house.cluster
        await house.become(rules.remove_user(house.cluster, "reader"))
        assert await house.lab.rows(house.cluster, "SELECT * FROM cenote.made WHERE kind = 'grant'") == []
        await house.become(before)
        await house.run("reader", "SELECT * FROM early")

    in_house(scenario)


def test_a_grant_that_was_cut_short_is_carried_out_by_the_next_pass(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await shelves(house)
        whole = rules.change_user(
            house.cluster, "reader", allow_replication=None, access=Access.READONLY, sets_access=True
        )
        steps = len(await house.lab.plan(whole))
        assert steps == 5  # whose objects are covered; a grant and a note, for two databases
        for stop_after in range(steps):
            await house.lab.converge(whole, stop_after=stop_after)
            await house.become(whole)
            await house.run("reader", "SELECT * FROM early", "shop")
            assert await house.lab.plan(whole) == []
            await house.preset("reader", None)

    in_house(scenario)


def test_nothing_is_granted_by_a_pass_where_nothing_has_changed(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.preset("reader", Access.READONLY)
        session = house.lab.session(house.cluster)
        try:
            wanted = house.lab.wanted(house.cluster)
            assert list(grants.plan(wanted, await look.grants.look(Inspector(), wanted, session))) == []
        finally:
            await session.close()

    in_house(scenario)


# -- Replication


def test_only_who_is_allowed_to_can_replicate_and_who_no_longer_is_stops(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        with pytest.raises(psycopg.OperationalError, match=r"(?i)replication"):
            await house.connect("app", replication="database", cursor_factory=psycopg.AsyncClientCursor)
        await house.replication("app", True)
        stream = await house.connect("app", replication="database", cursor_factory=psycopg.AsyncClientCursor)
        await stream.execute("CREATE_REPLICATION_SLOT a TEMPORARY LOGICAL pgoutput")
        log = house.lab.wanted(house.cluster).server.log.read_text()
        assert re.search(r"user=app,db=defaultdb.*received replication command: CREATE_REPLICATION_SLOT", log)
        # As documented: it can copy the whole server.
        stream.pgconn.send_query(b"BASE_BACKUP")
        begun = stream.pgconn.get_result()
        assert begun is not None
        assert begun.status == psycopg.pq.ExecStatus.TUPLES_OK
        query = await house.connect("app")
        await house.replication("app", False)
        with pytest.raises(psycopg.OperationalError):
            await stream.execute("IDENTIFY_SYSTEM")
        await query.execute("SELECT 1")
        assert await house.lab.plan(house.cluster) == []

    in_house(scenario)


def test_what_nobody_has_said_of_replication_is_left_to_sql(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        session = house.lab.session(house.cluster)
        try:
            await session.run("postgres", "by hand", [SQL("ALTER ROLE app REPLICATION")], atomic=True)
        finally:
            await session.close()
        assert await house.lab.plan(house.cluster) == []

    in_house(scenario)


# -- A new password


def test_a_new_password_is_good_at_once_and_the_old_one_is_refused_in_both_places(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        pool = Pool(name="backend-pool", database="defaultdb", size=2, user="app")
        await house.become(replace(house.cluster, pools=(pool,)))
        places: list[dict[str, Any]] = [
            {},
            {"database": "backend-pool", "port": writer_or_first(house.cluster).pool_port},
        ]
        opened = [await house.connect("app", **place) for place in places]
        await house.become(
            rules.change_password(
                house.cluster, "app", verifier=records.verifier("a-new-password"), sealed_password=""
            )
        )
        for place in places:
            with pytest.raises(psycopg.OperationalError, match="authentication failed"):
                await house.connect("app", **place)
            await house.connect("app", **place, password="a-new-password")
        for connection in opened:  # who has come in stays
            await connection.execute("SELECT 1")

    in_house(scenario)
