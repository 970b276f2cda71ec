"""Records that are older than their servers: nothing is dropped, and what is there comes into the record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from msgspec.structs import replace
from psycopg.sql import SQL

from cenote.agent.node_pass import NodePass
from cenote.model.paths import Layout
from cenote.model.record import Secret
from cenote.model.records import Access, Cluster, Database, Pool, RemovalKind
from cenote.model.status_records import NodeStatus
from cenote.rules import databases, removals, users
from cenote.rules.adoption import adopted
from cenote.security import credentials
from cenote.store import EtcdClient
from cenote.store.etcd_messages import TransactionRequest, put
from tests.support import records
from tests.support.lab import Lab, Share, shared_lab
from tests.support.service import Service, answer_of, online_cluster, tried
from tests.support.waiting import wait_until

ROWS = "CREATE TABLE public.kept AS SELECT generate_series(1, 1000) AS id"


@pytest.fixture(scope="module")
def labs() -> Iterator[Share]:
    yield from shared_lab()


async def reported(lab: Lab, cluster: Cluster) -> NodeStatus:
    """Return what a pass reports, which drops nothing."""
    node_pass = NodePass(lab.executor, asyncio.Semaphore(4))
    session = lab.session(cluster)
    try:
        await node_pass.run(lab.wanted(cluster), session)
    finally:
        await session.close()
    assert not node_pass.has_drops
    return NodeStatus(reached=1, at=cluster.created_at, **(node_pass.seen | node_pass.drops.seen))  # type: ignore[arg-type]


async def adopt(lab: Lab, cluster: Cluster) -> Cluster:
    """Bring a server to a record, and return that with what the server has beside it."""
    lab.notes_removals = False  # nobody has removed what this record does not name
    before = await lab.rows(cluster, "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles")
    await lab.converge(cluster)
    after = await lab.rows(cluster, "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles")
    assert sorted(before) == sorted(after)
    seen = await reported(lab, cluster)
    return adopted(cluster, seen, lambda name: credentials.new_user(name, lab.sealer))


def test_what_an_older_record_does_not_name_is_adopted_with_its_rows_and_privileges(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        older = lab.new_cluster()
        app = replace(records.user("app"), access=Access.READONLY, allow_replication=True)
        newer = replace(
            older,
            users=(*older.users, app),
            databases=(*older.databases, Database(name="orders", owner="app")),
            pools=(Pool(name="orders", database="orders", size=2, user="app"),),
        )
        await lab.converge(newer)
        await lab.run(newer, ROWS, "orders")
        noted = "SELECT name FROM cenote.made WHERE kind = 'grant' ORDER BY name"
        grants = await lab.rows(newer, noted)
        after = await adopt(lab, older)
        assert after.databases == newer.databases
        adopted_app = after.user("app")
        assert adopted_app is not None
        assert (adopted_app.access, adopted_app.allow_replication) == (Access.READONLY, True)
        assert adopted_app.verifier != app.verifier
        assert await lab.rows(newer, noted) == grants
        await lab.converge(after)
        assert (await reported(lab, after)).found is None
        assert await lab.rows(after, "SELECT count(*) FROM public.kept", "orders") == [(1000,)]
        [(verifier,)] = await lab.rows(after, "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")
        assert verifier == adopted_app.verifier
        assert await lab.plan(after) == []

    labs(scenario)


def test_a_removal_of_an_older_record_does_not_drop_what_was_made_again_since(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        first = lab.new_cluster()
        first = replace(
            first,
            users=(*first.users, records.user("app")),
            databases=(*first.databases, Database(name="orders")),
        )
        lab.notes_removals = False
        await lab.converge(first)
        removed = databases.remove_database(users.remove_user(first, "app"), "orders")
        await lab.converge(removed)
        assert await lab.rows(removed, "SELECT 1 FROM pg_database WHERE datname = 'orders'") == []
        gone = NodeStatus(
            reached=1, at=first.created_at, gone=tuple(removal.id for removal in removed.removing)
        )
        again = removals.free_name(removed, RemovalKind.DATABASE, "orders", gone)
        again = removals.free_name(again, RemovalKind.USER, "app", gone)
        again = replace(again, users=first.users, databases=first.databases)
        await lab.converge(again)
        await lab.run(again, ROWS, "orders")
        after = await adopt(lab, removed)
        assert after.database("orders") is not None
        assert after.user("app") is not None
        assert await lab.rows(after, "SELECT count(*) FROM public.kept", "orders") == [(1000,)]
        # And a removal of what was adopted works as ever.
        await lab.converge(databases.remove_database(after, "orders"))
        assert await lab.rows(after, "SELECT 1 FROM pg_database WHERE datname = 'orders'") == []

    labs(scenario)


def test_a_removal_that_was_under_way_and_that_the_record_does_not_know_is_taken_back(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        older = lab.new_cluster()
        newer = replace(
            older,
            users=(*older.users, records.user("app")),
            databases=(*older.databases, Database(name="orders")),
        )
        lab.notes_removals = False
        await lab.converge(newer)
        await lab.run(newer, ROWS, "orders")
        removed = databases.remove_database(users.remove_user(newer, "app"), "orders")
        limits = "SELECT datconnlimit FROM pg_database WHERE datname = 'orders'"
        for changes in range(10):  # until both are locked out, and neither is dropped
            await lab.converge(removed, stop_after=changes)
            if await lab.rows(newer, limits) == [(0,)]:
                break
        assert await lab.rows(newer, limits) == [(0,)]
        after = await adopt(lab, older)
        await lab.converge(after)
        assert await lab.rows(after, limits) == [(-1,)]
        can_login = "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'app'"
        assert await lab.rows(after, can_login) == [(True,)]

    labs(scenario)


def test_what_sql_has_dropped_is_adopted_as_gone_and_can_be_made_again(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        older = lab.new_cluster()
        newer = replace(
            older,
            users=(*older.users, records.user("app")),
            databases=(*older.databases, Database(name="orders")),
        )
        lab.notes_removals = False
        await lab.converge(newer)
        session = lab.session(newer)
        statements = (SQL("DROP DATABASE orders"), SQL("DROP ROLE app"))
        await session.run("postgres", "what SQL does", statements, atomic=False)
        await session.close()
        after = await adopt(lab, older)
        assert after.database("orders") is not None
        await lab.converge(after)
        assert await lab.rows(after, "SELECT 1 FROM pg_database WHERE datname = 'orders'") == []
        again = replace(
            after,
            users=tuple(replace(user, number=1) if user.name == "app" else user for user in after.users),
            databases=tuple(
                replace(one, number=1) if one.name == "orders" else one for one in after.databases
            ),
        )
        await lab.converge(again)
        assert await lab.rows(again, "SELECT 1 FROM pg_database WHERE datname = 'orders'") == [(1,)]
        assert await lab.rows(again, "SELECT 1 FROM pg_roles WHERE rolname = 'app'") == [(1,)]

    labs(scenario)


# -- With the controller


def raw_record(running: Service, id: str, value: bytes | None = None) -> bytes:
    """Return a cluster's record as it stands in the store; with a value, after that has replaced it."""
    layout = Layout(running.data_dir)
    password = Secret(layout.etcd_root_password.read_text().strip())

    async def work() -> bytes:
        client = EtcdClient(socket=layout.etcd_client_socket, username="root", password=password)
        key = f"/cenote/v2/clusters/{id}"
        try:
            if value is not None:
                await client.transact(TransactionRequest([], [put(key, value)], []))
            found = await client.read(key)
            assert found is not None
            return found.value
        finally:
            await client.close()

    return asyncio.run(work())


def test_after_a_restore_of_older_records_databases_and_users_are_there_and_listed(running: Service) -> None:
    with running.client() as client:
        cluster = online_cluster(client, "rescued")
        base = f"/v2/databases/{cluster['id']}"
        older = raw_record(running, cluster["id"])
        client.request("POST", f"{base}/dbs", json={"name": "since"})
        client.request("POST", f"{base}/users", json={"name": "later", "cenote": {"access": "readwrite"}})
        uri = cluster["connection"]["uri"].replace("/defaultdb", "/since")
        with psycopg.connect(uri) as connection:
            connection.execute(ROWS)
        raw_record(running, cluster["id"], older)

        def listed() -> bool:
            names = client.request("GET", f"{base}/dbs")["dbs"]
            return {"name": "since"} in names

        wait_until("the database is in the record", 60, listed)
        assert answer_of(uri, "SELECT count(*) FROM public.kept") == 1000
        [later] = [one for one in client.request("GET", f"{base}/users")["users"] if one["name"] == "later"]
        assert later["cenote"] == {"access": "readwrite"}
        with_password = uri.replace("doadmin", "later").replace(
            cluster["connection"]["password"], later["password"]
        )
        wait_until("the user can log in", 30, lambda: tried(with_password, "SELECT 1") == 1)
        told = [one["cenote"]["summary"] for one in client.request("GET", f"{base}/events")["events"]]
        assert any("took into its record what its server has" in text for text in told), told
