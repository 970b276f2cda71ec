"""Users and databases that go, and all that can keep PostgreSQL from dropping them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from msgspec.structs import replace
from psycopg.sql import SQL, Identifier

from cenote.agent.drops import Drops
from cenote.agent.node_pass import NodePass
from cenote.errors import CenoteError
from cenote.model.changes import Sql, Stop
from cenote.model.records import (
    ADMIN_USER,
    Cluster,
    Configuration,
    Database,
    Pool,
    Removal,
    RemovalKind,
    User,
)
from cenote.model.topology import writer_or_first
from tests.support import records, sessions
from tests.support.agent import ask, refusal
from tests.support.lab import Lab, Share

USER, DATABASE = RemovalKind.USER, RemovalKind.DATABASE
INBOUND = Pool(name="inbound", database="defaultdb", size=3)


class House(sessions.House):
    """A cluster with users and databases that can go."""

    async def without(self, *names: str) -> list[Any]:
        """Remove users and databases of these names and make passes until nothing is left to do."""
        self.cluster = self.removing(*names)
        return list(await self.lab.converge(self.cluster))

    def removing(self, *names: str) -> Cluster:
        cluster = self.cluster
        databases = tuple(
            replace(one, owner="") if one.owner in names else one
            for one in cluster.databases
            if one.name not in names
        )
        users = tuple(one for one in cluster.users if one.name not in names)
        return replace(cluster, users=users, databases=databases)

    async def with_again(self, cluster: Cluster) -> None:
        self.cluster = cluster
        await self.lab.converge(cluster)

    async def value(self, query: LiteralString, database: str = "postgres") -> Any:
        [(value,)] = await self.lab.rows(self.cluster, query, database)
        return value

    async def databases(self) -> set[str]:
        return {name for (name,) in await self.lab.rows(self.cluster, "SELECT datname FROM pg_database")}

    async def roles(self) -> set[str]:
        return {name for (name,) in await self.lab.rows(self.cluster, "SELECT rolname FROM pg_roles")}


Scenario = Callable[[House], Awaitable[None]]
InHouse = Callable[..., None]


@pytest.fixture
def in_house(labs: Share) -> InHouse:
    """Run a scenario in a new house, with the databases and users that it needs."""

    def run(
        scenario: Scenario,
        *,
        users: tuple[User, ...] = (records.user("app"), records.user("friend")),
        databases: tuple[Database, ...] = (Database(name="orders", owner="app"),),
        **changes: Any,
    ) -> None:
        async def whole(lab: Lab) -> None:
            plain = lab.new_cluster()
            cluster = replace(
                plain, users=(*plain.users, *users), databases=(*plain.databases, *databases), **changes
            )
            house = House(lab, cluster)
            await lab.converge(cluster)
            async with house.sessions:
                await scenario(house)

        labs(whole)

    return run


# -- What keeps a database


def test_a_database_goes_with_an_active_slot_and_its_walsender(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.run(ADMIN_USER, "SELECT pg_create_logical_replication_slot('feed', 'pgoutput')", "orders")
        stream = await house.connect(
            ADMIN_USER, "orders", replication="database", cursor_factory=psycopg.AsyncRawCursor
        )
        await house.run("app", "CREATE PUBLICATION all_of_it", "orders")
        reading = asyncio.create_task(_stream(stream))
        while not await house.value("SELECT count(active_pid) FROM pg_replication_slots"):
            await asyncio.sleep(0.01)
        await house.without("orders")
        assert "orders" not in await house.databases()
        assert await house.value("SELECT count(*) FROM pg_replication_slots") == 0
        with pytest.raises(psycopg.OperationalError):
            await reading

    in_house(scenario)


async def _stream(connection: sessions.Connection) -> None:
    """Follow a slot until the connection ends, and never read what comes, as a stuck consumer."""
    options = "(proto_version '1', publication_names 'all_of_it')"
    connection.pgconn.send_query(f"START_REPLICATION SLOT feed LOGICAL 0/0 {options}".encode())
    while True:
        await asyncio.sleep(0.02)
        connection.pgconn.consume_input()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER DATABASE orders IS_TEMPLATE true",
        "ALTER DATABASE orders ALLOW_CONNECTIONS false",
        "ALTER DATABASE orders CONNECTION LIMIT 0",
        "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'orders'",  # an interrupted DROP DATABASE
    ],
)
def test_a_database_goes_whatever_its_flags(in_house: InHouse, change: LiteralString) -> None:
    async def scenario(house: House) -> None:
        await house.lab.run(house.cluster, change)
        await house.without("orders")
        assert "orders" not in await house.databases()
        assert await house.lab.plan(house.cluster) == []

    in_house(scenario)


PREPARING = Configuration(postgresql={"max_prepared_transactions": 5})


@pytest.mark.parametrize("closed", [False, True])
def test_a_database_goes_with_transactions_that_were_prepared_in_it(in_house: InHouse, closed: bool) -> None:
    async def scenario(house: House) -> None:
        await house.run("app", "CREATE TABLE kept (id int)", "orders")
        await house.run("app", "BEGIN; INSERT INTO kept VALUES (1); PREPARE TRANSACTION 'it''s'", "orders")
        if closed:
            await house.lab.run(house.cluster, "ALTER DATABASE orders ALLOW_CONNECTIONS false")
        await house.without("orders", "app")
        assert "orders" not in await house.databases()
        assert "app" not in await house.roles()
        assert await house.value("SELECT count(*) FROM pg_prepared_xacts") == 0

    in_house(scenario, configuration=PREPARING)


_SUBSCRIBE = (
    "CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=1 dbname=none' PUBLICATION nothing"
    " WITH (connect = false, slot_name = 'theirs')"
)


def test_a_database_goes_with_its_subscriptions_and_asks_nothing_of_their_publishers(
    in_house: InHouse,
) -> None:
    async def scenario(house: House) -> None:
        await house.lab.run(house.cluster, _SUBSCRIBE, "orders")
        await house.lab.run(house.cluster, "ALTER SUBSCRIPTION feed ENABLE", "orders")
        await house.without("orders")
        assert "orders" not in await house.databases()
        assert await house.value("SELECT count(*) FROM pg_subscription") == 0

    in_house(scenario)


def test_a_database_goes_from_under_sessions_that_come_back_at_once(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        refused = 0

        async def insist() -> None:
            nonlocal refused
            while True:
                with contextlib.suppress(psycopg.Error):
                    await house.run("app", "SELECT pg_sleep(600)", "orders")
                refused += 1

        clients = [asyncio.create_task(insist()) for _ in range(4)]
        at_work = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'orders'"
        while not await house.value(at_work):
            await asyncio.sleep(0.01)
        try:
            await house.without("orders")
        finally:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
        assert "orders" not in await house.databases()
        assert refused

    in_house(scenario)


# -- What keeps a user


def test_a_user_goes_that_owns_and_was_granted_something_in_many_databases(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        for database in ("orders", "second", "third"):
            await house.run(
                "app",
                "CREATE SCHEMA mine; CREATE TABLE mine.kept AS SELECT 42 AS value; CREATE TYPE mood AS ENUM"
                " ('fine'); SELECT lo_create(0); CREATE PUBLICATION mine FOR TABLE mine.kept;"
                " ALTER DEFAULT PRIVILEGES IN SCHEMA mine GRANT SELECT ON TABLES TO friend;"
                " GRANT USAGE ON SCHEMA mine TO friend; GRANT SELECT ON mine.kept TO friend",
                database,
            )
        await house.lab.run(house.cluster, "CREATE PUBLICATION every FOR ALL TABLES", "orders")
        await house.run(
            ADMIN_USER,
            "CREATE TABLE guarded (who text); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;"
            " CREATE POLICY own ON guarded TO app USING (who = 'app'); GRANT SELECT ON guarded TO app;"
            " CREATE ROLE helpers; GRANT helpers TO app WITH ADMIN OPTION; GRANT app TO friend;"
            " ALTER ROLE app SET work_mem = '1MB'",
        )
        # Since PostgreSQL 16 a grant depends on who has made it.
        await house.run("app", "GRANT helpers TO friend")
        for statement in (
            "ALTER PUBLICATION every OWNER TO postgres",
            "UPDATE pg_publication SET pubowner = 'app'::regrole WHERE pubname = 'every'",
            "CREATE FUNCTION noise() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
            "CREATE EVENT TRIGGER noise ON ddl_command_end EXECUTE FUNCTION noise()",
            "UPDATE pg_event_trigger SET evtowner = 'app'::regrole WHERE evtname = 'noise'",
        ):
            await house.lab.run(house.cluster, statement, "orders")
        await house.lab.run(house.cluster, "ALTER DATABASE third ALLOW_CONNECTIONS false")
        done = await house.without("app")
        assert "app" not in await house.roles()
        assert await house.lab.plan(house.cluster) == []
        visited = {change.database for change in done if isinstance(change, Sql)}
        assert visited == {"postgres", "defaultdb", "orders", "second", "third"}
        assert not await house.value("SELECT datallowconn FROM pg_database WHERE datname = 'third'")
        # What was granted to others holds, and the administrator may do as an owner.
        await house.run("friend", "SELECT value FROM mine.kept", "second")
        await house.run(ADMIN_USER, "INSERT INTO mine.kept VALUES (1); DROP TABLE mine.kept", "orders")
        owner = await house.value("SELECT rolname FROM pg_roles WHERE rolname ~ '^cenote_deleted_user_'")
        comment = f"SELECT shobj_description('{owner}'::regrole, 'pg_authid')"
        assert await house.lab.rows(house.cluster, comment) == [("owner of what the deleted user app owned",)]

    owned = tuple(Database(name=name, owner="app") for name in ("orders", "second", "third"))
    in_house(scenario, databases=owned)


def test_a_user_goes_with_its_sessions_replication_and_clients_of_the_pooler(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        place = {"port": writer_or_first(house.cluster).pool_port}
        pooled = await house.connect("app", "inbound", **place)
        direct = await house.connect("app")
        stream = await house.connect("app", replication="database", cursor_factory=psycopg.AsyncRawCursor)
        before = house.cluster
        await house.without("app")
        await house.with_again(before)
        for connection in (pooled, direct, stream):
            with pytest.raises(psycopg.OperationalError):
                await connection.execute("SELECT 1")

    allowed = replace(records.user("app"), allow_replication=True)
    in_house(scenario, users=(allowed,), databases=(), pools=(INBOUND,))


def test_a_user_goes_while_the_database_that_it_uses_goes(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.run("app", "CREATE TABLE kept (id int)", "orders")
        done = await house.without("app", "orders")
        assert {"app", "orders"}.isdisjoint({*await house.roles(), *await house.databases()})
        assert not any("handing over" in change.summary for change in done if isinstance(change, Sql))

    in_house(scenario)


def test_what_comes_again_has_neither_rows_nor_grants_of_its_predecessor(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        before = house.cluster
        await house.run("app", "CREATE TABLE kept AS SELECT 42 AS value", "orders")
        await house.run(
            ADMIN_USER,
            "GRANT CREATE ON DATABASE defaultdb TO app; CREATE TABLE secret (id int);"
            " GRANT SELECT ON secret TO app",
        )
        await house.run("app", "CREATE SCHEMA app; CREATE TABLE app.mine (id int)")
        await house.without("app", "orders")
        await house.with_again(before)
        with pytest.raises(psycopg.errors.UndefinedTable):
            await house.run("app", "SELECT * FROM kept", "orders")
        for table in ("secret", "app.mine"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                async with await house.connect("app") as connection:
                    await connection.execute(SQL("SELECT * FROM {}").format(Identifier(*table.split("."))))
        assert await house.lab.plan(house.cluster) == []

    in_house(scenario)


# -- What was owned runs as nobody who has more rights

_TRAPS = """
CREATE FUNCTION who() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user::text';
CREATE FUNCTION take() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN EXECUTE 'GRANT pg_monitor TO friend'; RETURN current_user; END $$;
CREATE PROCEDURE grab() LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN CREATE ROLE mine SUPERUSER; END $$;
CREATE TABLE kept AS SELECT 42 AS value;
CREATE VIEW own AS SELECT value FROM kept;
CREATE FUNCTION own_value() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT value FROM kept';
CREATE VIEW window_ AS SELECT * FROM secret;
CREATE TABLE ruled (id int);
CREATE RULE reach AS ON INSERT TO ruled DO ALSO DELETE FROM secret;
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int REFERENCES parent ON DELETE CASCADE);
CREATE TABLE heard (who text);
CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN EXECUTE 'GRANT pg_monitor TO friend'; RETURN OLD; END $$;
CREATE TRIGGER fired BEFORE DELETE ON child FOR EACH ROW EXECUTE FUNCTION fired();
INSERT INTO parent VALUES (1);
INSERT INTO child VALUES (1);
CREATE FUNCTION spread(int) RETURNS int LANGUAGE plpgsql AS $$
    BEGIN IF current_user <> 'app' THEN EXECUTE 'GRANT pg_monitor TO friend'; END IF; RETURN $1; END $$;
CREATE FUNCTION spread_(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT public.spread($1)';
CREATE TABLE indexed (id int);
CREATE INDEX ON indexed (spread_(id));
INSERT INTO indexed SELECT generate_series(1, 100);
GRANT ALL ON kept, own, window_, ruled, parent, child, heard, indexed TO friend;
"""


def test_nothing_that_a_deleted_user_owned_runs_as_the_administrator(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.run("app", "GRANT CREATE ON SCHEMA public TO doadmin", "orders")
        await house.run(ADMIN_USER, "CREATE TABLE secret AS SELECT 1 AS id", "orders")
        await house.run("app", _TRAPS, "orders")
        await house.without("app")
        friend = await house.connect("friend", "orders")
        cursor = await friend.execute("SELECT who()")
        [who] = await cursor.fetchone() or [""]
        assert who.startswith("cenote_deleted_user_")
        for trap in (
            "SELECT take()",
            "CALL grab()",
            "SELECT * FROM window_",
            "INSERT INTO ruled VALUES (1)",
            "DELETE FROM parent",
            "SELECT * FROM secret",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await friend.execute(trap.encode())
        # As autovacuum does: with the rights of the table's owner.
        with contextlib.suppress(CenoteError):
            await house.lab.run(house.cluster, "ANALYZE public.indexed", "orders")
        member = "SELECT pg_has_role('friend', 'pg_monitor', 'member')"
        assert not await house.value(member)
        # What needs the rights of its owner on its owner's things only goes on working.
        for query in ("SELECT value FROM own", "SELECT own_value()"):
            cursor = await friend.execute(query.encode())
            assert await cursor.fetchone() == (42,)
        # The traps are good ones: in the hands of the administrator they spring.
        admin = await house.connect(ADMIN_USER, "orders")
        await admin.execute(SQL("REASSIGN OWNED BY {} TO doadmin").format(Identifier(who)))
        await house.lab.run(house.cluster, "ANALYZE public.indexed", "orders")
        assert await house.value(member)
        await friend.execute("DELETE FROM parent")

    in_house(scenario)


def test_the_role_of_a_deleted_user_can_do_nothing_and_goes_when_it_owns_nothing(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.run("app", "CREATE TABLE kept (id int)", "orders")
        await house.without("app")
        [name] = [role for role in await house.roles() if role.startswith("cenote_deleted_user_")]
        attributes = (
            "SELECT rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"
            f" FROM pg_roles WHERE rolname = '{name}'"
        )
        assert await house.lab.rows(house.cluster, attributes) == [(False,)]
        admin = await house.connect(ADMIN_USER, "orders")
        await admin.execute(
            SQL("REASSIGN OWNED BY {} TO {}").format(Identifier(name), Identifier(ADMIN_USER))
        )
        await admin.close()
        await house.without("friend")
        assert not [role for role in await house.roles() if role.startswith("cenote_deleted_user_")]

    in_house(scenario)


def test_a_user_is_locked_out_and_goes_also_while_the_pooler_does_not_start(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        direct = await house.connect("app")
        lab = house.lab
        await lab.executor.do(Stop(lab.wanted(house.cluster).bouncer), lab.session(house.cluster))
        house.cluster = house.removing("app", "orders")
        context = lab.wanted(house.cluster)
        broken = dataclasses.replace(context, host=dataclasses.replace(lab.host, pgbouncer=Path("/missing")))
        node_pass = NodePass(lab.executor, asyncio.Semaphore(4))
        session = lab.session(house.cluster)
        with pytest.raises((OSError, CenoteError)):
            await node_pass.run(broken, session)
        assert node_pass.has_drops
        assert await node_pass.drops.run(broken, session) is None
        await session.close()
        assert "app" not in await house.roles()
        with pytest.raises(psycopg.OperationalError):
            await direct.execute("SELECT 1")

    in_house(scenario)


def test_a_database_that_was_opened_for_a_drop_is_closed_or_forgotten_by_a_later_pass(
    in_house: InHouse,
) -> None:
    async def scenario(house: House) -> None:
        await house.lab.run(
            house.cluster, "INSERT INTO cenote.made VALUES ('opened', 'orders'), ('opened', 'no more')"
        )
        await house.lab.converge(house.cluster)
        assert not await house.value("SELECT datallowconn FROM pg_database WHERE datname = 'orders'")
        assert await house.value("SELECT count(*) FROM cenote.made WHERE kind = 'opened'") == 0

    in_house(scenario)


@pytest.mark.long
def test_a_drop_that_is_broken_off_after_any_step_is_completed_by_the_next(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        before, gone = house.cluster, house.removing("app", "second")

        async def filled() -> None:
            await house.with_again(before)
            await house.lab.run(before, "ALTER DATABASE orders ALLOW_CONNECTIONS true")
            await house.run("app", "CREATE TABLE kept (id int); GRANT ALL ON kept TO friend", "orders")
            await house.lab.run(before, "ALTER DATABASE orders ALLOW_CONNECTIONS false")

        await filled()
        steps = len(await house.lab.plan(gone))
        assert steps > 10
        for stop_after in range(steps):
            await house.lab.converge(gone, stop_after=stop_after)
            await house.lab.converge(gone)
            left_to_do = [repr(change) for change in await house.lab.plan(gone)]
            # Roles of former deletions that own nothing go with the next one.
            assert not [change for change in left_to_do if "owns nothing any more" not in change]
            assert "app" not in await house.roles()
            assert "second" not in await house.databases()
            assert not await house.value("SELECT datallowconn FROM pg_database WHERE datname = 'orders'")
            left = "SELECT count(*) FROM cenote.made WHERE name IN ('app', 'second') OR kind = 'opened'"
            assert await house.value(left) == 0
            await house.lab.run(before, "ALTER DATABASE orders ALLOW_CONNECTIONS true")
            await house.run(ADMIN_USER, "DROP TABLE kept", "orders")
            await filled()

    in_house(scenario, databases=(Database(name="orders", owner="app"), Database(name="second", owner="app")))


# -- One that fails holds up no other


def test_a_drop_that_a_lock_holds_up_holds_up_no_other_and_is_told_by_name(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.run("app", "CREATE TABLE kept (id int); GRANT ALL ON kept TO doadmin", "orders")
        await house.run("friend", "CREATE TABLE kept (id int)", "second")
        holder = await house.connect(ADMIN_USER, "orders")
        async with holder.transaction():
            await holder.execute("LOCK TABLE kept")
            marks = tuple(
                Removal(id=uuid4(), kind=kind, name=name, at=house.cluster.created_at)
                for kind, name in ((USER, "app"), (USER, "friend"), (DATABASE, "third"))
            )
            house.cluster = replace(house.removing("app", "friend", "third"), removing=marks)
            drops = await one_round(house)
            assert drops.seen["gone"] == tuple(mark.id for mark in marks[1:])
            assert drops.seen["remaining"] == {
                str(marks[0].id): "handing over what user app owns in database orders failed: canceling"
                " statement due to lock timeout"
            }
            assert drops.reason.startswith("user 'app' is not removed yet: handing over")
            assert "not permitted to log in" in await refusal(house.cluster, user="app", pool=None)
        await house.lab.converge(house.cluster)
        assert "app" not in await house.roles()
        assert await ask(house.cluster, pool=None) == 42

    databases = (
        Database(name="orders", owner="app"),
        Database(name="second", owner="friend"),
        Database(name="third"),
    )
    in_house(scenario, databases=databases)


async def one_round(house: House) -> Drops:
    """Make one pass and one attempt of each drop; return what has become of them."""
    node_pass = NodePass(house.lab.executor, asyncio.Semaphore(4))
    session = house.lab.session(house.cluster)
    try:
        context = house.lab.wanted(house.cluster)
        await node_pass.run(context, session)
        await node_pass.drops.run(context, session)
    finally:
        await session.close()
    return node_pass.drops


# -- Many at once


def test_a_user_without_things_costs_the_same_whatever_the_number_of_databases(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        done = await house.without(*(f"user-{number}" for number in range(20)))
        statements = [one for change in done if isinstance(change, Sql) for one in change.statements]
        assert {change.database for change in done if isinstance(change, Sql)} == {"postgres"}
        assert len(statements) == 20 * 7
        found = await house.roles()
        assert not [name for name in found if name.startswith("user-")]

    in_house(
        scenario,
        users=tuple(records.user(f"user-{number}") for number in range(20)),
        databases=tuple(Database(name=f"database-{number}") for number in range(20)),
    )


def test_a_pass_without_removals_asks_the_ledger_only(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        session = house.lab.session(house.cluster)
        try:
            assert not await Drops(NodePass(house.lab.executor, asyncio.Semaphore(1))._do).look(
                house.lab.wanted(house.cluster), session
            )
        finally:
            await session.close()

    in_house(scenario)
