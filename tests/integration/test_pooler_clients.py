"""What clients of a pool can rely on."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest
from msgspec.structs import replace

from cenote.host import sql
from cenote.model.records import Cluster, Pool, PoolMode
from cenote.model.topology import writer_or_first
from tests.support import records
from tests.support.agent import ask
from tests.support.lab import Lab, Share
from tests.support.waiting import wait_until_async

CLIENTS, QUERIES = 6, 60
POOL = Pool(name="backend-pool", database="defaultdb", size=2, user="doadmin")
BACKEND = "SELECT pg_backend_pid()"


async def with_pools(lab: Lab, *pools: Pool) -> Cluster:
    cluster = replace(lab.new_cluster(), pools=pools or (POOL,))
    await lab.converge(cluster)
    return cluster


@asynccontextmanager
async def client(
    cluster: Cluster, pool: str = POOL.name, **how: Any
) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    asked: dict[str, Any] = {
        "port": writer_or_first(cluster).pool_port,
        "dbname": pool,
        "user": "doadmin",
        "sslmode": "require",
    } | how
    connection = await psycopg.AsyncConnection.connect(
        host="localhost",
        password=records.PASSWORD,
        connect_timeout=60,
        autocommit=True,
        **asked,
    )
    try:
        yield connection
    finally:
        await connection.close()


async def value(connection: psycopg.AsyncConnection[Any], query: str) -> Any:
    cursor = await connection.execute(query.encode())
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def server_connections(lab: Lab, cluster: Cluster) -> int:
    asked = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'doadmin'"
    [(count,)] = await lab.rows(cluster, asked)
    return int(count)


def test_prepared_statements_of_psycopg_are_each_clients_own_in_a_transaction_pool(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_pools(lab)

        async def work(number: int) -> None:
            # The first statement that each prepares has the same name and another text for every client.
            async with client(cluster, prepare_threshold=0) as connection:
                for query in range(QUERIES):
                    column = f"{number}_{query % 7}"
                    cursor = await connection.execute(
                        f'SELECT %s::int * {number} AS "{column}"'.encode(), (query,)
                    )
                    assert cursor.description is not None
                    assert (cursor.description[0].name, await cursor.fetchone()) == (
                        column,
                        (query * number,),
                    )

        await asyncio.gather(*(work(number) for number in range(CLIENTS)))
        assert 0 < await server_connections(lab, cluster) <= POOL.size

    labs(scenario)


def test_prepared_statements_of_asyncpg_are_each_clients_own_in_a_transaction_pool(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_pools(lab)
        trusted = ssl.create_default_context(cafile=records.ca_file(cluster, lab.folder))

        async def work(number: int) -> None:
            connection = await asyncpg.connect(
                host="localhost",
                port=writer_or_first(cluster).pool_port,
                database=POOL.name,
                user="doadmin",
                password=records.PASSWORD,
                ssl=trusted,
            )
            try:
                kept = [await connection.prepare(f"SELECT $1::int * {number} + {k}") for k in range(5)]
                for query in range(QUERIES):
                    assert await kept[query % 5].fetchval(query) == query * number + query % 5
            finally:
                await connection.close()

        await asyncio.gather(*(work(number) for number in range(CLIENTS)))
        assert 0 < await server_connections(lab, cluster) <= POOL.size

    labs(scenario)


def test_other_pools_come_change_and_go_and_nobody_is_disconnected(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        session = replace(POOL, name="session", mode=PoolMode.SESSION, size=1)
        cluster = await with_pools(lab, POOL, session)
        async with client(cluster) as one, client(cluster, "session") as other:
            await other.execute("CREATE TEMP TABLE mine AS SELECT 7 AS seven")
            async with one.transaction():
                await one.execute("CREATE TABLE in_the_middle AS SELECT 1 AS value")
                new = replace(POOL, name="new", size=1)
                for pools in (
                    (POOL, session, new),
                    (POOL, session, replace(new, size=2, mode=PoolMode.STATEMENT)),
                    (POOL, session, replace(new, user="")),
                    (POOL, session),
                ):
                    await lab.converge(replace(cluster, pools=pools))
                    assert await value(one, "SELECT value FROM in_the_middle") == 1
                    assert await value(other, "SELECT seven FROM mine") == 7
            added = replace(cluster, users=(*cluster.users, records.user("app")))
            await lab.converge(added)
            await lab.converge(cluster)
            assert await value(one, "SELECT value FROM in_the_middle") == 1
            assert await value(other, "SELECT seven FROM mine") == 7

    labs(scenario)


def test_a_pool_whose_user_changes_lets_each_client_act_as_nobody_else(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = replace(lab.new_cluster(), users=(*lab.new_cluster().users, records.user("app")))
        for wanted in ("", "doadmin", "app", "", "app", "doadmin"):
            cluster = replace(cluster, pools=(replace(POOL, user=wanted),))
            await lab.converge(cluster)
            for name in [wanted] if wanted else ["doadmin", "app"]:
                async with client(cluster, user=name) as connection:
                    assert await value(connection, "SELECT current_user::text") == name

    labs(scenario)


def test_a_pool_that_grows_serves_more_at_once_without_dropping_a_client(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        small = replace(POOL, size=1)
        cluster = await with_pools(lab, small)
        async with client(cluster) as one, client(cluster) as other, one.transaction():
            backend = await value(one, BACKEND)
            waiting = asyncio.create_task(value(other, BACKEND))
            await wait_until_async("the second client waits", 30, lambda: clients_waiting(lab, cluster))
            await lab.converge(replace(cluster, pools=(POOL,)))
            assert await waiting != backend
            assert await value(one, BACKEND) == backend

    labs(scenario)


async def clients_waiting(lab: Lab, cluster: Cluster) -> int:
    rows = (
        await sql.console(lab.session(cluster).sockets, writer_or_first(cluster).pool_port, "SHOW POOLS")
    )[0]
    return sum(row["cl_waiting"] for row in rows)


def test_a_transaction_pool_lends_a_connection_for_a_transaction(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_pools(lab, replace(POOL, size=1))
        async with client(cluster) as one, client(cluster) as other:
            first, second = await value(one, BACKEND), await value(other, BACKEND)
            assert first == second
            async with one.transaction():
                asked = asyncio.create_task(value(other, "SELECT 42"))
                await wait_until_async("the other waits", 30, lambda: clients_waiting(lab, cluster))
                assert not asked.done()
            assert await asked == 42

    labs(scenario)


def test_a_session_pool_lends_a_connection_for_a_session_and_gets_it_back_clean(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_pools(lab, replace(POOL, size=1, mode=PoolMode.SESSION))
        async with client(cluster) as one:
            await one.execute("SET work_mem = '7MB'")
            await one.execute("CREATE TEMP TABLE mine AS SELECT 7 AS seven")
            backend = await value(one, BACKEND)
            asked = asyncio.create_task(ask(cluster, "SHOW work_mem"))
            await wait_until_async("another client waits", 30, lambda: clients_waiting(lab, cluster))
            assert await value(one, "SELECT seven FROM mine") == 7
        assert await asked != "7MB"
        async with client(cluster) as another:
            assert await value(another, BACKEND) == backend
            assert await value(another, "SELECT to_regclass('mine') IS NULL")

    labs(scenario)


def test_a_statement_pool_takes_no_transaction_of_several_statements(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_pools(lab, replace(POOL, mode=PoolMode.STATEMENT))
        assert await ask(cluster) == 42
        async with client(cluster) as connection:
            with pytest.raises(psycopg.OperationalError, match="transaction blocks not allowed"):
                await connection.execute("BEGIN")

    labs(scenario)


def test_a_pool_without_a_user_has_everybody_as_themselves_within_its_size(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        plain = lab.new_cluster()
        names = [f"user-{number}" for number in range(6)]
        users = (*plain.users, *(records.user(name) for name in names))
        cluster = replace(plain, users=users, pools=(replace(POOL, user=""),))
        await lab.converge(cluster)

        async def work(name: str) -> None:
            for _ in range(5):
                assert await ask(cluster, "SELECT current_user", user=name) == name
                # PostgreSQL may still be ending one that the pooler has closed to make room for another.
                session = lab.session(cluster)
                servers = (await sql.console(session.sockets, session.pool_port, "SHOW SERVERS"))[0]
                assert len(servers) <= POOL.size

        await asyncio.gather(*(work(name) for name in names))

    labs(scenario)


def test_clients_can_insist_on_the_whole_certificate_and_cannot_do_without_tls(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_pools(lab)
        authority = records.ca_file(cluster, lab.folder)
        for port, database in (
            (writer_or_first(cluster).port, "defaultdb"),
            (writer_or_first(cluster).pool_port, POOL.name),
        ):
            how: dict[str, Any] = {"port": port, "dbname": database}
            async with client(cluster, **how, sslmode="verify-full", sslrootcert=authority) as connection:
                assert await value(connection, "SELECT 42") == 42
            stranger = records.ca_file(lab.new_cluster(), lab.folder)
            with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
                async with client(cluster, **how, sslmode="verify-full", sslrootcert=stranger):
                    pass
            with pytest.raises(psycopg.OperationalError, match=r"no encryption|SSL required"):
                async with client(cluster, **how, sslmode="disable"):
                    pass

    labs(scenario)


def test_a_client_that_vanishes_leaves_its_place_to_the_next(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_pools(lab, replace(POOL, size=1))
        async with client(cluster) as one:
            await one.execute("BEGIN")
            await one.execute("CREATE TABLE half ()")
        assert await ask(cluster, "SELECT to_regclass('half') IS NULL") is True

    labs(scenario)
