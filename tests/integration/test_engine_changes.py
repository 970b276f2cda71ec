"""From one record to another on real servers: only what differs is done, and it is done for real."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from cenote.host import processes, sql
from cenote.model.changes import Wait
from cenote.model.records import Cluster, Database, Pool, PoolMode
from cenote.model.topology import writer_or_first
from cenote.security import certificates
from tests.support import records
from tests.support.agent import answers, ask, refusal, running
from tests.support.lab import Lab, Share, in_words

POOL = Pool(name="backend-pool", database="defaultdb", size=3, user="doadmin")


async def with_pool(lab: Lab) -> Cluster:
    cluster = replace(lab.new_cluster(), pools=(POOL,))
    await lab.converge(cluster)
    return cluster


async def done_for(lab: Lab, cluster: Cluster) -> list[str]:
    """Bring a cluster to another record; no server may be replaced, and nothing may be left to do."""
    programs = (lab.wanted(cluster).server, lab.wanted(cluster).bouncer)
    before = [running(program) for program in programs]
    done = in_words(await lab.converge(cluster))
    assert [processes.find(program) for program in programs] == before
    assert await lab.plan(cluster) == []
    return done


async def shown(lab: Lab, cluster: Cluster, what: str) -> list[dict[str, Any]]:
    rows = (
        await sql.console(lab.session(cluster).sockets, writer_or_first(cluster).pool_port, f"SHOW {what}")
    )[0]
    return [dict(row) for row in rows]


def test_a_cluster_comes_from_nothing_in_the_order_of_its_parts(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = replace(lab.new_cluster(), pools=(POOL,))
        assert in_words(await lab.converge(cluster)) == [
            *["MakeDirectory"] * 4,
            *["RequestCertificate", "write server.pem", "Remove"],
            "CopyTemplate",
            *["write postgresql.conf", "write pg_hba.conf", "write pg_ident.conf", "start PostgreSQL"],
            "setting up user doadmin in postgres",
            *["write pgbouncer.ini", "write userlist.txt", "write hba.conf", "start PgBouncer"],
        ]
        assert await lab.plan(cluster) == []
        assert await answers(cluster)
        assert await answers(cluster, pool=None)

    labs(scenario)


def test_what_is_planned_for_nothing_is_what_is_done(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = lab.new_cluster()
        first = await lab.converge(cluster, stop_after=0)
        assert first == []
        assert lab.remains(cluster) == []
        await lab.converge(cluster)
        assert [change for change in await lab.plan(cluster) if not isinstance(change, Wait)] == []

    labs(scenario)


def test_an_added_pool_is_one_file_each_for_the_entry_and_its_user_and_one_reload(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_pool(lab)
        added = replace(cluster, pools=(POOL, replace(POOL, name="second", mode=PoolMode.SESSION)))
        assert await done_for(lab, added) == ["write pgbouncer.ini", "write hba.conf", "reload PgBouncer"]
        assert await answers(cluster, pool="second")
        inbound = replace(added, pools=(*added.pools, replace(POOL, name="third", user="")))
        assert await done_for(lab, inbound) == ["write pgbouncer.ini", "reload PgBouncer"]
        assert await answers(cluster, pool="third")

    labs(scenario)


def test_a_changed_pool_is_a_reload(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_pool(lab)
        changed = replace(cluster, pools=(replace(POOL, size=1, mode=PoolMode.STATEMENT),))
        assert await done_for(lab, changed) == ["write pgbouncer.ini", "reload PgBouncer"]
        [pool] = [row for row in await shown(lab, cluster, "DATABASES") if row["name"] == POOL.name]
        assert (pool["pool_size"], pool["pool_mode"]) == (1, "statement")

    labs(scenario)


def test_nobody_stays_the_user_that_a_pool_had(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        plain = await with_pool(lab)
        other = replace(POOL, name="other")
        cluster = replace(plain, users=(*plain.users, records.user("app")), pools=(POOL, other))
        await lab.converge(cluster)
        assert "login rejected" in await refusal(cluster, user="app")
        inbound = replace(cluster, pools=(replace(POOL, user=""), other))
        done = await done_for(lab, inbound)
        assert done.count("reload PgBouncer") == 2
        assert await ask(cluster, "SELECT current_user", user="app") == "app"
        assert await ask(cluster, "SELECT current_user") == "doadmin"
        given_back = replace(cluster, pools=(replace(POOL, user="app"), other))
        assert (await done_for(lab, given_back)).count("reload PgBouncer") == 2
        assert await ask(cluster, "SELECT current_user", user="app") == "app"
        assert "login rejected" in await refusal(cluster)

    labs(scenario)


def test_a_removed_pool_is_a_reload(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_pool(lab)
        assert "reload PgBouncer" in await done_for(lab, replace(cluster, pools=()))
        assert "no such database" in await refusal(cluster)

    labs(scenario)


def test_a_user_that_comes_can_log_in_and_one_that_goes_cannot(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        inbound = replace(POOL, name="inbound", user="")
        cluster = replace(await with_pool(lab), pools=(POOL, inbound))
        await done_for(lab, cluster)
        added = replace(cluster, users=(*cluster.users, records.user("app")))
        assert await done_for(lab, added) == [
            *["write userlist.txt", "reload PgBouncer"],
            *["write pg_ident.conf", "reload PostgreSQL", "setting up user app in postgres"],
        ]
        for pool in (None, "inbound"):
            assert await ask(cluster, "SELECT current_user", user="app", pool=pool) == "app"
        assert await done_for(lab, cluster) == [
            *["write userlist.txt", "reload PgBouncer", "write pg_ident.conf", "reload PostgreSQL"],
            *["ending the sessions of user app in postgres", "dropping user app in postgres"],
            "ending the last sessions of user app in postgres",
        ]
        for pool in (None, "inbound"):
            assert "authentication failed" in await refusal(cluster, user="app", pool=pool)

    labs(scenario)


def test_another_password_replaces_the_old_one_on_both_ports(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_pool(lab)
        admin = replace(cluster.users[0], verifier=records.verifier("another-password"))
        assert await done_for(lab, replace(cluster, users=(admin,))) == [
            *["write userlist.txt", "reload PgBouncer"],
            "setting up user doadmin in postgres",
            *["write pgbouncer.ini", "reload PgBouncer"],
        ]
        for pool in (None, POOL.name):
            assert await ask(cluster, pool=pool, password="another-password") == 42
            assert "authentication failed" in await refusal(cluster, pool=pool)

    labs(scenario)


def test_a_database_comes_and_goes(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_pool(lab)
        added = replace(cluster, databases=(*cluster.databases, Database(name="orders")))
        assert await done_for(lab, added) == [
            "noting database orders in postgres",
            "creating database orders in postgres",
            "noting that database orders was created in postgres",
        ]
        assert await ask(cluster, "SELECT current_database()", pool=None, database="orders") == "orders"
        assert await done_for(lab, cluster) == [
            "ending the sessions in database orders in postgres",
            "dropping database orders in postgres",
        ]
        assert "does not exist" in await refusal(cluster, pool=None, database="orders")

    labs(scenario)


def test_a_user_goes_also_when_customers_have_every_connection_and_many_databases(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        plain = replace(lab.new_cluster(), users=(*lab.new_cluster().users, records.user("app")))
        names = [f"database-{number}" for number in range(30)]
        cluster = replace(plain, databases=(*plain.databases, *(Database(name=name) for name in names)))
        await lab.converge(cluster)
        async with contextlib.AsyncExitStack() as clients:
            with pytest.raises(psycopg.OperationalError, match="remaining connection slots"):
                await take_every_connection(cluster, clients)
            await lab.converge(replace(cluster, users=plain.users[:1]))
        assert await lab.rows(cluster, "SELECT 1 FROM pg_roles WHERE rolname = 'app'") == []

    labs(scenario)


async def take_every_connection(cluster: Cluster, clients: contextlib.AsyncExitStack) -> None:
    while True:
        connection = await psycopg.AsyncConnection.connect(
            host="localhost",
            port=writer_or_first(cluster).port,
            dbname="defaultdb",
            user="doadmin",
            password=records.PASSWORD,
            sslmode="require",
        )
        await clients.enter_async_context(connection)


def test_a_database_in_use_is_dropped_all_the_same(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        plain = await with_pool(lab)
        pool = Pool(name="orders-pool", database="orders", size=2, user="doadmin")
        cluster = replace(plain, databases=(*plain.databases, Database(name="orders")), pools=(pool,))
        await lab.converge(cluster)
        busy = asyncio.create_task(refusal(cluster, "SELECT 42 FROM pg_sleep(600)", pool="orders-pool"))
        at_work = "SELECT pid FROM pg_stat_activity WHERE datname = 'orders' AND state = 'active'"
        while not await lab.rows(cluster, at_work):
            await asyncio.sleep(0.01)
        await lab.converge(plain)
        assert await lab.rows(cluster, "SELECT 1 FROM pg_database WHERE datname = 'orders'") == []
        await busy

    labs(scenario)


def test_what_a_customer_has_made_by_sql_is_left_alone(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_pool(lab)
        for statement in ("CREATE DATABASE theirs", "CREATE ROLE theirs LOGIN"):
            await ask(cluster, statement, pool=None)
        # A pool could be made for the role, so PgBouncer may reach the server as it.
        assert await done_for(lab, cluster) == ["write pg_ident.conf", "reload PostgreSQL"]
        assert await lab.plan(cluster) == []

    labs(scenario)


def test_other_names_bring_another_certificate_to_both_servers(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_pool(lab)
        named = replace(cluster, server_names=(*records.NAMES, "db.example.com"))
        assert await done_for(lab, named) == [
            "RequestCertificate",
            "write server.pem",
            "Remove",
            "reload PostgreSQL",
            "reload PgBouncer",
        ]
        for port in (writer_or_first(cluster).port, writer_or_first(cluster).pool_port):
            pem = await asyncio.to_thread(certificate_at, port)
            assert certificates.names_of(pem.encode()) == named.server_names

    labs(scenario)


def certificate_at(port: int) -> str:
    """The certificate that a server shows after PostgreSQL's request for TLS."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        plain.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")  # SSLRequest
        assert plain.recv(1) == b"S"
        with trusting.wrap_socket(plain) as wrapped:
            found = wrapped.getpeercert(binary_form=True)
            assert found is not None
            return ssl.DER_cert_to_PEM_cert(found)


def test_the_parser_of_neither_server_has_anything_to_say_against_our_files(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await with_pool(lab)
        for view in ("pg_file_settings", "pg_hba_file_rules", "pg_ident_file_mappings"):
            assert await lab.rows(cluster, f"SELECT error FROM {view} WHERE error IS NOT NULL") == []
        log = lab.wanted(cluster).bouncer.log.read_text()
        assert [line for line in log.splitlines() if "WARNING" in line or "ERROR" in line] == []

    labs(scenario)
