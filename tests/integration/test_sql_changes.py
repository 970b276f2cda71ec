"""What an administrator closes, drops, renames and makes by SQL, on the real servers and in the pools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, LiteralString

import psycopg
import pytest
from msgspec.structs import replace

from cenote import rules
from cenote.engine import look, plan
from cenote.errors import CenoteError, Invalid
from cenote.host.inspector import Inspector
from cenote.model.by_sql import BySql, SeenRole
from cenote.model.records import ADMIN_USER, Access, Cluster, Database, Pool
from cenote.model.topology import writer_or_first
from cenote.rules import sql_changes
from cenote.stats.counters import PassResult
from tests.support import records
from tests.support.agent import Agents, AtWork, answers, ask, refusal
from tests.support.lab import Lab, Share
from tests.support.waiting import wait_until_async

OWN = Pool(name="own-pool", database="orders", size=2, user="app")
INBOUND = Pool(name="inbound", database="orders", size=3)
USERS = (records.user("app"), records.user("reader"))
DATABASES = (Database(name="orders"), Database(name="shop", owner="app"))
SECONDS = 60


# Every pass looks at everything.
pytestmark = pytest.mark.timing(resync_interval=0.5, full_look_interval=0.0)


class House:
    """A cluster with users, databases and pools, and an agent at work on it."""

    def __init__(self, at_work: AtWork, cluster: Cluster) -> None:
        self.at_work, self.cluster = at_work, cluster

    async def sql(self, statement: LiteralString, database: str = "defaultdb", user: str = ADMIN_USER) -> Any:
        return await ask(self.cluster, statement, pool=None, database=database, user=user)

    async def rows(self, query: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        return await self.at_work.lab.rows(self.cluster, query, database)

    async def may_read(self, table: str, database: str = "orders") -> bool:
        query = f"SELECT has_table_privilege('reader', 'public.{table}', 'SELECT')"
        return await self.rows(query, database) == [(True,)]

    async def passes(self) -> None:
        """Wait until the agent has looked at everything twice."""
        done = self.at_work.passes.outcomes
        before = done[PassResult.DONE]
        await wait_until_async("two passes", SECONDS, lambda: done[PassResult.DONE] >= before + 3)
        await self.at_work.settled(self.cluster)

    async def is_seen(self, what: str, condition: Callable[[BySql], object]) -> None:
        await wait_until_async(what, SECONDS, lambda: bool(condition(self.by_sql)))
        await self.passes()

    @property
    def by_sql(self) -> BySql:
        return self.at_work.status(self.cluster).by_sql

    async def become(self, change: Callable[[Cluster], Cluster]) -> None:
        stored = await self.at_work.store.update_cluster(self.cluster.id, change)
        self.cluster = await self.at_work.settled(stored.value)

    async def pooled(self, pool: str = "own-pool", user: str = "app", **how: Any) -> bool:
        return await answers(self.cluster, pool=pool, user=user, **how)

    async def direct(self, user: str = "app", database: str = "orders", **how: Any) -> bool:
        return await answers(self.cluster, pool=None, user=user, database=database, **how)

    async def reached(self, **how: Any) -> tuple[bool, bool, bool]:
        """Return whether ``app`` is let in on the direct port, by its own pool, and by that of all users."""
        return await self.direct(**how), await self.pooled(**how), await self.pooled("inbound", **how)

    def new_password(self, name: str, password: str) -> Callable[[Cluster], Cluster]:
        verifier = records.verifier(password)
        return lambda cluster: rules.change_password(
            cluster, name, verifier=verifier, sealed_password="", seen=self.at_work.status(cluster)
        )


Scenario = Callable[[House], Awaitable[None]]
EVERYWHERE, NOWHERE = (True, True, True), (False, False, False)


@pytest.fixture
def in_house(agents: Agents) -> Callable[[Scenario], None]:
    """Run a scenario in a new house, whose pools have server connections that a later client would get."""

    def run(scenario: Scenario) -> None:
        async def whole(at_work: AtWork) -> None:
            plain = at_work.lab.new_cluster()
            cluster = await at_work.cluster(
                users=(*plain.users, *USERS),
                databases=(*plain.databases, *DATABASES),
                pools=(OWN, INBOUND),
            )
            house = House(at_work, cluster)
            assert await house.reached() == EVERYWHERE
            assert house.by_sql == BySql()
            await scenario(house)

        agents.run(whole)

    return run


InHouse = Callable[[Scenario], None]

# -- Logins

CLOSED: dict[str, LiteralString] = {
    "NOLOGIN": "ALTER ROLE app NOLOGIN",
    "VALID UNTIL": "ALTER ROLE app VALID UNTIL '2020-01-01'",
    "VALID UNTIL '-infinity'": "ALTER ROLE app VALID UNTIL '-infinity'",
    "PASSWORD NULL": "ALTER ROLE app PASSWORD NULL",
    "CONNECTION LIMIT 0": "ALTER ROLE app CONNECTION LIMIT 0",
    "MD5": "SET password_encryption = 'md5'; ALTER ROLE app PASSWORD 'a-weak-one'",
}


@pytest.mark.parametrize("how", CLOSED)
def test_a_login_that_sql_has_closed_stays_closed_also_in_pools(in_house: InHouse, how: str) -> None:
    async def scenario(house: House) -> None:
        await house.sql(CLOSED[how])
        await house.is_seen("it is reported", lambda found: found.role("app"))
        assert await house.reached() == NOWHERE
        assert await house.pooled("inbound", "reader"), "others still come in"
        role = house.by_sql.role("app")
        assert role is not None
        assert role.closed
        assert sql_changes.pool_problem(house.cluster, OWN, house.by_sql) == f"user 'app' {role.closed}"

    in_house(scenario)


OPENED: dict[str, LiteralString] = {
    "NOLOGIN": "ALTER ROLE app LOGIN",
    "VALID UNTIL": "ALTER ROLE app VALID UNTIL 'infinity'",
    "CONNECTION LIMIT 0": "ALTER ROLE app CONNECTION LIMIT 5",
}


@pytest.mark.parametrize("how", OPENED)
def test_sql_opens_again_what_it_has_closed(in_house: InHouse, how: str) -> None:
    async def scenario(house: House) -> None:
        await house.sql(CLOSED[how])
        await house.is_seen("it is reported", lambda found: found.role("app"))
        await house.sql(OPENED[how])
        await house.is_seen("nothing is reported", lambda found: found == BySql())
        assert await house.reached() == EVERYWHERE

    in_house(scenario)


@pytest.mark.parametrize("how", ["NOLOGIN", "VALID UNTIL", "PASSWORD NULL", "MD5"])
def test_a_new_password_from_the_api_opens_a_login_again(in_house: InHouse, how: str) -> None:
    async def scenario(house: House) -> None:
        await house.sql(CLOSED[how])
        await house.is_seen("it is reported", lambda found: found.role("app"))
        await house.become(house.new_password("app", "a-new-password"))
        assert await house.reached(password="a-new-password") == EVERYWHERE
        assert await house.reached() == NOWHERE
        await house.is_seen("nothing is reported", lambda found: found == BySql())

    in_house(scenario)


def test_a_role_is_refused_by_pools_from_the_moment_that_it_is_valid_until(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        async with await psycopg.AsyncConnection.connect(
            host="localhost",
            port=writer_or_first(house.cluster).pool_port,
            user="app",
            password=records.PASSWORD,
            dbname="own-pool",
            sslmode="require",
            autocommit=True,
        ) as held:
            await house.sql(
                "DO $$ BEGIN EXECUTE format("
                "'ALTER ROLE app VALID UNTIL %L', clock_timestamp() + interval '4 seconds'); END $$"
            )
            assert await house.reached() == EVERYWHERE
            await house.is_seen("it has expired", lambda found: found.role("app"))
            assert await house.reached() == NOWHERE
            await held.execute("SELECT 42")  # as on the direct port, who has come in stays

    in_house(scenario)


def test_a_password_that_sql_has_set_is_taken_by_pools_and_stays(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.sql("ALTER ROLE app PASSWORD 'set-by-itself'", "orders", user="app")
        await house.is_seen("it is reported", lambda found: found.role("app"))
        assert await house.reached(password="set-by-itself") == EVERYWHERE
        assert await house.reached() == NOWHERE
        app = house.cluster.user("app")
        assert app is not None
        assert not sql_changes.knows_password(app, house.by_sql)
        await house.become(lambda cluster: replace(cluster, tags=("another-change",)))
        await house.become(lambda cluster: rules.add_user(cluster, records.user("later")))
        assert await house.reached(password="set-by-itself") == EVERYWHERE

    in_house(scenario)


ODD_VERIFIERS = {
    "a newline": r"SCRAM-SHA-256$\n4096:c2FsdA==",
    "a space": "SCRAM-SHA-256$ 4096:c2FsdA==",
    "a sign": "SCRAM-SHA-256$+4096:c2FsdA==",
    "a long salt": f"SCRAM-SHA-256$4096:{5_000 * 'c2Fs'}",
}


@pytest.mark.parametrize("how", ODD_VERIFIERS)
def test_a_verifier_that_only_postgresql_takes_stops_nothing_else(in_house: InHouse, how: str) -> None:
    """PostgreSQL keeps what reads as one to it as it is, and any user can set it for itself."""
    key = 43 * "A" + "="
    setting = f"ALTER ROLE app PASSWORD E'{ODD_VERIFIERS[how]}${key}:{key}'"

    async def scenario(house: House) -> None:
        await house.sql(setting, user="app")
        await house.is_seen("it is reported", lambda found: found.role("app"))
        role = house.by_sql.role("app")
        assert role is not None
        assert "stored" in role.closed
        assert not role.verifier
        assert await house.pooled("inbound", "reader"), "others still come in"
        await house.become(house.new_password("reader", "a-new-password"))
        assert await house.pooled("inbound", "reader", password="a-new-password")
        await house.become(house.new_password("app", "a-new-password"))
        assert await house.reached(password="a-new-password") == EVERYWHERE

    in_house(scenario)


def test_the_administrator_itself_is_closed_and_opened_in_the_same_way(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        # Before PostgreSQL 16 only a superuser may change a role with REPLICATION.
        await house.at_work.lab.run(house.cluster, "ALTER ROLE doadmin NOLOGIN")
        await house.is_seen("it is reported", lambda found: found.role("doadmin"))
        assert not await house.direct(ADMIN_USER)
        assert not await house.pooled("inbound", ADMIN_USER)
        await house.become(house.new_password("doadmin", "a-new-password"))
        assert await house.direct(ADMIN_USER, password="a-new-password")

    in_house(scenario)


# -- Databases

SHUT: dict[str, tuple[LiteralString, LiteralString]] = {
    "ALLOW_CONNECTIONS": (
        "ALTER DATABASE orders ALLOW_CONNECTIONS false",
        "ALTER DATABASE orders ALLOW_CONNECTIONS true",
    ),
    "CONNECTION LIMIT": (
        "ALTER DATABASE orders CONNECTION LIMIT 0",
        "ALTER DATABASE orders CONNECTION LIMIT -1",
    ),
    "CONNECT": ("REVOKE CONNECT ON DATABASE orders FROM PUBLIC", "GRANT CONNECT ON DATABASE orders TO app"),
}


@pytest.mark.parametrize("how", SHUT)
def test_a_database_that_sql_has_closed_stays_closed_also_in_pools(in_house: InHouse, how: str) -> None:
    closing, opening = SHUT[how]

    async def scenario(house: House) -> None:
        await house.sql(closing)
        await house.is_seen("it is reported", lambda found: found != BySql())
        assert await house.reached() == NOWHERE
        assert not await house.pooled("inbound", "reader")
        if how == "CONNECT":
            assert await house.pooled("inbound", ADMIN_USER), "its owner is let in"
        assert await house.direct(database="shop")
        assert sql_changes.pool_problem(house.cluster, OWN, house.by_sql)
        await house.become(lambda cluster: rules.add_user(cluster, records.user("later")))
        assert await house.reached() == NOWHERE
        await house.sql(opening)
        await house.is_seen(
            "it is open", lambda found: not sql_changes.pool_problem(house.cluster, OWN, found)
        )
        assert await house.reached() == EVERYWHERE

    in_house(scenario)


def test_an_owner_that_sql_has_set_stays(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.at_work.lab.run(house.cluster, "ALTER DATABASE shop OWNER TO reader")
        await house.is_seen("it is reported", lambda found: found.database("shop"))
        owner = await house.rows("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'shop'")
        assert owner == [("reader",)]

    in_house(scenario)


# -- Privileges


def test_replication_that_sql_has_taken_away_stays_away_until_the_api_is_asked_again(
    in_house: InHouse,
) -> None:
    async def scenario(house: House) -> None:
        def allowing(cluster: Cluster) -> Cluster:
            seen = house.at_work.status(cluster)
            return rules.change_user(
                cluster, "app", allow_replication=True, access=None, sets_access=False, seen=seen
            )

        query = "SELECT rolreplication FROM pg_roles WHERE rolname = 'app'"
        await house.become(allowing)
        assert await house.rows(query) == [(True,)]
        await house.at_work.lab.run(house.cluster, "ALTER ROLE app NOREPLICATION")
        await house.is_seen("it is reported", lambda found: found.role("app"))
        assert await house.rows(query) == [(False,)]
        assert await house.reached() == EVERYWHERE
        await house.become(allowing)
        assert await house.rows(query) == [(True,)]
        await house.is_seen("nothing is reported", lambda found: found == BySql())
        unchanged = house.cluster
        await house.become(allowing)
        assert house.cluster == unchanged, "what is so already is no change"

    in_house(scenario)


def test_what_sql_has_revoked_of_a_preset_stays_revoked_when_users_come_and_go(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.sql("CREATE TABLE open (); CREATE TABLE secret ()", "orders")
        await house.become(
            lambda cluster: rules.change_user(
                cluster, "reader", allow_replication=None, access=Access.READONLY, sets_access=True
            )
        )
        await house.sql("REVOKE SELECT ON secret FROM reader", "orders")
        await house.sql(
            "ALTER DEFAULT PRIVILEGES FOR ROLE doadmin REVOKE SELECT ON TABLES FROM reader", "orders"
        )
        await house.become(lambda cluster: rules.add_user(cluster, records.user("later")))
        await house.sql("CREATE TABLE after ()", "orders")
        await house.sql("GRANT CREATE ON SCHEMA public TO later", "orders")
        await house.sql("CREATE TABLE of_later ()", "orders", user="later")
        for table, may in (("open", True), ("secret", False), ("after", False), ("of_later", True)):
            granted = await house.rows(
                f"SELECT has_table_privilege('reader', 'public.{table}', 'SELECT')", "orders"
            )
            assert granted == [(may,)], table
        digests = {name.split("/")[0] for (name,) in await house.rows(_MAKERS)}
        assert len(digests) == 1, "those of former grants are forgotten"

    in_house(scenario)


_MAKERS = "SELECT name FROM cenote.made WHERE kind = 'makers'"


def test_a_preset_fails_for_no_database_that_sql_has_closed_and_comes_when_it_is_open(
    in_house: InHouse,
) -> None:
    async def scenario(house: House) -> None:
        await house.sql("CREATE TABLE early ()", "orders")
        await house.sql("ALTER DATABASE orders ALLOW_CONNECTIONS false")
        await house.become(
            lambda cluster: rules.change_user(
                cluster, "reader", allow_replication=None, access=Access.READONLY, sets_access=True
            )
        )
        await house.sql("ALTER DATABASE orders ALLOW_CONNECTIONS true")
        await house.is_seen("it is open", lambda found: not found.databases)
        assert await house.may_read("early")

    in_house(scenario)


# -- What goes


@pytest.mark.parametrize("renamed", [False, True], ids=["dropped", "renamed"])
def test_a_user_that_sql_has_dropped_or_renamed_does_not_come_back_until_it_is_asked_for(
    in_house: InHouse, renamed: bool
) -> None:
    async def scenario(house: House) -> None:
        await house.sql("ALTER ROLE reader RENAME TO other" if renamed else "DROP ROLE reader")
        await house.is_seen("it is reported", lambda found: found.role("reader"))
        role = house.by_sql.role("reader")
        assert role is not None
        assert role.gone == ("was renamed to 'other' by SQL" if renamed else "was dropped by SQL")
        assert await house.rows("SELECT FROM pg_roles WHERE rolname = 'reader'") == []
        assert (house.by_sql.role("other") is not None) is renamed
        with pytest.raises(Invalid, match="POST of the same name"):
            rules.change_password(
                house.cluster,
                "reader",
                verifier="",
                sealed_password="",
                seen=house.at_work.status(house.cluster),
            )
        await house.become(
            lambda cluster: rules.add_user(
                cluster, records.user("reader", "another-one"), house.at_work.status(cluster)
            )
        )
        assert await house.direct("reader", password="another-one")
        await house.passes()
        assert house.by_sql.role("reader") is None
        await house.become(lambda cluster: rules.remove_user(cluster, "reader"))
        await wait_until_async(
            "it is dropped", SECONDS, lambda: len(house.at_work.status(house.cluster).gone) == 1
        )
        assert await house.rows("SELECT FROM pg_roles WHERE rolname = 'reader'") == []

    in_house(scenario)


@pytest.mark.parametrize("renamed", [False, True], ids=["dropped", "renamed"])
def test_a_database_that_sql_has_dropped_or_renamed_does_not_come_back_empty(
    in_house: InHouse, renamed: bool
) -> None:
    async def scenario(house: House) -> None:
        # The pools' connections are in the way, as they would be for a customer.
        await house.at_work.lab.run(
            house.cluster, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'orders'"
        )
        await house.sql("ALTER DATABASE orders RENAME TO former" if renamed else "DROP DATABASE orders")
        await house.is_seen("it is reported", lambda found: found.database("orders"))
        seen = house.by_sql.database("orders")
        assert seen is not None
        assert seen.gone == ("was renamed to 'former' by SQL" if renamed else "was dropped by SQL")
        assert await house.rows("SELECT FROM pg_database WHERE datname = 'orders'") == []
        assert (
            sql_changes.pool_problem(house.cluster, INBOUND, house.by_sql) == f"database 'orders' {seen.gone}"
        )
        assert "does not exist" in await refusal(house.cluster, pool="own-pool", user="app")
        await house.become(
            lambda cluster: rules.add_database(cluster, "orders", seen=house.at_work.status(cluster))
        )
        await wait_until_async("pools serve it", SECONDS, house.pooled)
        await house.passes()
        assert house.by_sql.database("orders") is None
        assert (house.by_sql.database("former") is not None) is renamed

    in_house(scenario)


def test_what_sql_drops_and_makes_anew_under_its_name_is_no_other_thing(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.become(
            lambda cluster: rules.change_user(
                cluster, "reader", allow_replication=None, access=Access.READONLY, sets_access=True
            )
        )
        await house.sql("DROP DATABASE defaultdb WITH (FORCE)", "shop")
        await house.sql("CREATE DATABASE defaultdb", "shop")
        await house.passes()
        assert house.by_sql.database("defaultdb") is None
        await house.sql("CREATE TABLE anew ()")
        granted = await house.rows(
            "SELECT has_table_privilege('reader', 'public.anew', 'SELECT')", "defaultdb"
        )
        assert granted == [(True,)], "a preset covers it"

    in_house(scenario)


def test_a_role_that_sql_makes_anew_keeps_the_password_that_sql_gave_it(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.sql("DROP ROLE reader")
        await house.is_seen("it is gone", lambda found: found.role("reader"))
        await house.sql("CREATE ROLE reader LOGIN PASSWORD 'of-its-own'")
        await house.is_seen("it is back", lambda found: (found.role("reader") or OLD).verifier)
        assert await house.direct("reader", password="of-its-own")
        assert await house.pooled("inbound", "reader", password="of-its-own")

    in_house(scenario)


OLD = SeenRole(name="reader")


# -- What comes


def test_pools_serve_users_and_databases_that_sql_has_made(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.sql("CREATE ROLE maker LOGIN PASSWORD 'of-its-own'")
        await house.sql("CREATE ROLE team")
        await house.sql("CREATE DATABASE by_hand")
        await house.is_seen(
            "both are reported", lambda found: found.role("maker") and found.database("by_hand")
        )
        assert house.by_sql.groups == ("team",)
        pools = (
            Pool(name="made-pool", database="by_hand", size=2, user="maker"),
            Pool(name="made-inbound", database="by_hand", size=2),
        )
        for pool in pools:
            await house.become(partial(_with_pool, pool, house.at_work))
        for name in ("made-pool", "made-inbound", "inbound"):
            assert await house.pooled(name, "maker", password="of-its-own"), name
        assert await house.pooled("made-inbound", "app")
        assert not await house.pooled("made-pool", "app")
        await house.sql("ALTER ROLE maker NOLOGIN")
        await house.is_seen("it is a group now", lambda found: "maker" in found.groups)
        assert not await house.pooled("made-pool", "maker", password="of-its-own")
        assert "no user 'maker'" in sql_changes.pool_problem(house.cluster, pools[0], house.by_sql)

    in_house(scenario)


def _with_pool(pool: Pool, at_work: AtWork, cluster: Cluster) -> Cluster:
    return rules.add_pool(cluster, pool, at_work.status(cluster))


def test_names_that_the_api_does_not_take_are_left_to_sql(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.sql('CREATE ROLE "a b" LOGIN; CREATE ROLE "x""; --" LOGIN; CREATE ROLE cenote_x LOGIN')
        await house.sql('CREATE DATABASE "a/b"')
        await house.sql("CREATE ROLE fine LOGIN PASSWORD 'x'")
        await house.is_seen("the good one is reported", lambda found: found.role("fine"))
        assert [role.name for role in house.by_sql.roles] == ["fine"]
        assert house.by_sql.databases == ()

    in_house(scenario)


def test_a_user_that_sql_has_made_is_taken_over_with_a_new_password(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        await house.sql("CREATE ROLE maker LOGIN PASSWORD 'of-its-own'")
        await house.is_seen("it is reported", lambda found: found.role("maker"))
        await house.become(house.new_password("maker", "of-the-api"))
        assert await house.direct("maker", password="of-the-api")
        assert await house.pooled("inbound", "maker", password="of-the-api")
        assert not await house.pooled("inbound", "maker", password="of-its-own")
        assert house.by_sql == BySql()

    in_house(scenario)


# -- Earlier versions


def test_a_ledger_of_an_earlier_version_is_completed(in_house: InHouse) -> None:
    async def scenario(house: House) -> None:
        noted = await house.rows(_STATES)
        await house.at_work.lab.run(
            house.cluster, "DELETE FROM cenote.made WHERE kind IN ('role-state', 'database-state')"
        )
        await house.passes()
        assert await house.rows(_STATES) == noted
        assert await house.reached() == EVERYWHERE

    in_house(scenario)


_STATES = "SELECT kind, name FROM cenote.made WHERE kind LIKE '%-state' ORDER BY kind, name"


# -- Between a look and what follows


def test_a_role_that_goes_between_the_look_and_its_change_does_not_come_back(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        plain = lab.new_cluster()
        before = replace(plain, users=(*plain.users, records.user("app")))
        await lab.converge(before)
        after = replace(plain, users=(*plain.users, records.user("app", "another-one")))
        session = lab.session(after)
        try:
            seen = await look.roles.look(Inspector(), lab.wanted(after), session)
            await lab.run(after, "DROP ROLE app")
            [change] = plan.roles.plan(lab.wanted(after), seen)
            with pytest.raises(CenoteError, match='role "app" does not exist'):
                await lab.executor.do(change, session)
        finally:
            await session.close()
        await lab.converge(after)
        assert await lab.rows(after, "SELECT FROM pg_roles WHERE rolname = 'app'") == []

    labs(scenario)
