"""Replacing the server connections of a pool: it cures cached plans, and no client notices."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg import errors

from cenote_client import Client, NotFoundError
from tests.support.console import Visitor
from tests.support.service import WITHOUT_LIMITS, Service, added_pool
from tests.support.waiting import wait_until

pytestmark = pytest.mark.service(*WITHOUT_LIMITS)

Connection = psycopg.Connection[Any]


@contextmanager
def connected(uri: str) -> Iterator[Connection]:
    with psycopg.connect(uri, autocommit=True, connect_timeout=60) as connection:
        connection.prepare_threshold = 0
        yield connection


def uri_of(pool: Any) -> str:
    return str(pool["connection"]["uri"])


@pytest.fixture
def table(cluster: Any) -> Iterator[str]:
    name = f"parts_{uuid4().hex[:8]}"
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as direct:
        direct.execute(f"CREATE TABLE {name} AS SELECT 1 AS id".encode())
    yield name
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as direct:
        direct.execute(f"DROP TABLE {name}".encode())


@pytest.fixture
def pool(client: Client, cluster: Any) -> Iterator[Any]:
    yield added_pool(client, cluster["id"], "shared", size=3)
    client.databases.delete_connection_pool(cluster["id"], "shared")


def rows(connection: Connection, table: str) -> list[Any]:
    return connection.execute(f"SELECT * FROM {table}".encode()).fetchall()


def add_column(cluster: Any, table: str) -> None:
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as direct:
        direct.execute(f"ALTER TABLE {table} ADD COLUMN name text DEFAULT 'nut'".encode())


def pid(connection: Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    assert row is not None
    return int(row[0])


def configure(client: Client, cluster: Any, query: str | None) -> None:
    body = {"config": {"cenote": {"connect_query": query}}}
    client.request("PATCH", f"/v2/databases/{cluster['id']}/config", json=body)


def reconnected(client: Client, cluster: Any, pool: str = "shared") -> Any:
    return client.databases.reconnect_connection_pool(cluster["id"], pool)["reconnect"]


def test_cached_plans_of_all_clients_are_cured_and_no_query_of_another_client_fails(
    client: Client, cluster: Any, pool: Any, table: str
) -> None:
    failures: list[str] = []
    answers = 0
    over = threading.Event()

    def query_on() -> None:
        nonlocal answers
        try:
            with connected(uri_of(pool)) as other:
                while not over.is_set():
                    with other.transaction():
                        found = other.execute("SELECT %s::int * 2", [answers]).fetchone()
                        assert found == (answers * 2,)
                    answers += 1
        except Exception as error:
            failures.append(repr(error))

    with connected(uri_of(pool)) as first, connected(uri_of(pool)) as second:
        assert rows(first, table) == rows(second, table) == [(1,)]
        add_column(cluster, table)
        for each in (first, second):
            with pytest.raises(errors.FeatureNotSupported, match="cached plan must not change result type"):
                rows(each, table)
        other = threading.Thread(target=query_on)
        other.start()
        try:
            wait_until("the other client has answers", 20, lambda: answers > 20 or failures)
            assert reconnected(client, cluster) == {"pool": "shared", "connections_left": 0}
            reached = answers
            assert rows(first, table) == rows(second, table) == [(1, "nut")]
            wait_until("the other client has further answers", 20, lambda: answers > reached + 20 or failures)
        finally:
            over.set()
            other.join()
        assert failures == []


def test_a_transaction_keeps_its_connection_and_what_is_left_is_told(
    http: httpx.Client, client: Client, cluster: Any, pool: Any
) -> None:
    path = f"/v2/databases/{cluster['id']}/pools/shared/reconnect"
    with connected(uri_of(pool)) as busy:
        with busy.transaction():
            before = pid(busy)
            answer = http.post(path)
            assert (answer.status_code, answer.json()) == (
                200,
                {"reconnect": {"pool": "shared", "connections_left": 1}},
            )
            assert pid(busy) == before
        assert pid(busy) != before
    assert reconnected(client, cluster)["connections_left"] == 0


def test_a_session_keeps_its_connection_until_its_client_leaves(
    running: Service, client: Client, cluster: Any
) -> None:
    sessions = added_pool(client, cluster["id"], "sessions", mode="session", size=2)
    try:
        with connected(uri_of(sessions)) as lasting:
            before = pid(lasting)
            said = running.run("pool", "reconnect", "backend", "sessions")
            assert (said.returncode, said.stdout, said.stderr) == (
                0,
                "",
                "1 server connections of pool sessions still to be replaced,"
                " each when its client disconnects\n",
            )
            assert pid(lasting) == before
        assert reconnected(client, cluster, "sessions")["connections_left"] == 0
        with connected(uri_of(sessions)) as another:
            assert pid(another) != before
    finally:
        client.databases.delete_connection_pool(cluster["id"], "sessions")


def test_other_pools_keep_their_connections(client: Client, cluster: Any, pool: Any) -> None:
    other = added_pool(client, cluster["id"], "other", size=1)
    try:
        with connected(uri_of(other)) as unaffected:
            before = pid(unaffected)
            reconnected(client, cluster)
            client.databases.update_connection_pool(
                cluster["id"],
                "shared",
                {"mode": "transaction", "size": 2, "db": "defaultdb", "user": "doadmin"},
            )
            assert pid(unaffected) == before
    finally:
        client.databases.delete_connection_pool(cluster["id"], "other")


@pytest.mark.parametrize(
    "query", ["SET app.origin = 'connect_query'", "SET app.origin = 'connect_query' -- as we do"]
)
def test_a_connect_query_is_run_on_each_new_connection_all_the_same(
    client: Client, cluster: Any, pool: Any, query: str
) -> None:
    configure(client, cluster, query)
    try:
        with connected(uri_of(pool)) as each:
            before = pid(each)
            assert reconnected(client, cluster)["connections_left"] == 0
            assert pid(each) != before
            assert each.execute("SHOW app.origin").fetchone() == ("connect_query",)
    finally:
        configure(client, cluster, None)


def test_a_request_that_the_agent_has_not_got_to_is_carried_out_once_it_is_back(
    running: Service, http: httpx.Client, cluster: Any, pool: Any
) -> None:
    agent = running.child("agent")
    assert agent is not None
    with connected(uri_of(pool)) as each:
        before = pid(each)
        os.kill(agent, signal.SIGSTOP)
        try:
            answer = http.post(f"/v2/databases/{cluster['id']}/pools/shared/reconnect").json()
            assert answer["reconnect"]["connections_left"] is None
            assert answer["cenote"]["pending"]
            assert answer["cenote"]["reason"]
            assert pid(each) == before
        finally:
            os.kill(agent, signal.SIGKILL)  # the supervisor starts another one
        wait_until("the connection is replaced", 40, lambda: pid(each) != before)


def test_the_event_names_the_pool_and_what_was_done(
    running: Service, client: Client, cluster: Any, pool: Any
) -> None:
    reconnected(client, cluster)
    last = running.cenote("events", "backend").splitlines()[1]
    assert "pool shared: replacements of its server connections: from 0 to 1" in last


def test_the_command_replaces_those_of_one_pool_or_of_all(
    running: Service, client: Client, cluster: Any, pool: Any
) -> None:
    added_pool(client, cluster["id"], "other", size=1)
    try:
        done = running.run("pool", "reconnect", "backend", "shared")
        assert (done.returncode, done.stderr) == (0, "Replaced the server connections of pool shared\n")
        done = running.run("pool", "reconnect", "backend", "--all")
        assert done.stderr.splitlines() == [
            f"Replaced the server connections of pool {name}" for name in ("shared", "other")
        ]
    finally:
        client.databases.delete_connection_pool(cluster["id"], "other")
    assert running.run("pool", "reconnect", "backend").returncode == 2
    assert running.run("pool", "reconnect", "backend", "shared", "--all").returncode == 2
    assert "404" in running.run("pool", "reconnect", "backend", "unknown").stderr


def test_a_pool_that_is_not_there_is_not_found(client: Client, cluster: Any) -> None:
    with pytest.raises(NotFoundError):
        reconnected(client, cluster, "unknown")


def test_the_page_of_the_pools_has_a_button_for_it(somebody: Visitor, cluster: Any, pool: Any) -> None:
    page = somebody.open(f"/console/clusters/{cluster['id']}/pools")
    with connected(uri_of(pool)) as each:
        before = pid(each)
        sent = somebody.send(page, "Replace server connections of shared")
        assert "The server connections of pool shared were replaced." in sent.text
        assert pid(each) != before


def test_the_button_for_a_pool_that_has_gone_says_so(somebody: Visitor, client: Client, cluster: Any) -> None:
    added_pool(client, cluster["id"], "brief", size=1)
    page = somebody.open(f"/console/clusters/{cluster['id']}/pools")
    client.databases.delete_connection_pool(cluster["id"], "brief")
    assert "could not be found" in somebody.send(page, "Replace server connections of brief", 404).text
