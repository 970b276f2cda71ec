"""The verifier on the line of a pool with a user: what it is for, and what it must not break."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from cenote.host import sql
from cenote.model.changes import Reload
from cenote.model.records import Cluster, Pool, PoolMode
from cenote.model.topology import writer_or_first
from tests.support import records
from tests.support.lab import Lab, Share

POOLS = (
    Pool(name="transactions", database="defaultdb", size=2, user="doadmin"),
    Pool(name="sessions", database="defaultdb", size=2, user="doadmin", mode=PoolMode.SESSION),
)


@contextmanager
def client(
    cluster: Cluster, pool: str, password: str = records.PASSWORD
) -> Iterator[psycopg.Connection[Any]]:
    port = writer_or_first(cluster).pool_port
    uri = f"postgres://doadmin:{password}@127.0.0.1:{port}/{pool}?sslmode=require"
    with psycopg.connect(uri, connect_timeout=60, autocommit=True) as connection:
        yield connection


@contextmanager
def busy_clients(cluster: Cluster) -> Iterator[None]:
    """A client in the middle of a transaction and one of a session; at the end both still are."""
    with client(cluster, "transactions") as one, client(cluster, "sessions") as other:
        other.execute("CREATE TEMP TABLE mine AS SELECT 7 AS seven")
        with one.transaction():
            one.execute("CREATE TEMP TABLE in_the_middle ON COMMIT DROP AS SELECT 1 AS value")
            yield
            assert one.execute("SELECT value FROM in_the_middle").fetchone() == (1,)
        assert other.execute("SELECT seven FROM mine").fetchone() == (7,)


def ini(place: Lab, cluster: Cluster) -> Path:
    return place.layout.cluster(cluster.id).pooler / "pgbouncer.ini"


async def rewrite(place: Lab, cluster: Cluster, pattern: str, replacement: str) -> None:
    """Change the pooler's file by hand and reload it."""
    path = ini(place, cluster)
    path.write_text(re.sub(pattern, replacement, path.read_text()))
    session = place.session(cluster)
    await sql.console(session.sockets, session.pool_port, "RELOAD")


def test_a_verifier_reaches_a_line_without_one_and_no_client_is_dropped(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = replace(place.new_cluster(), pools=POOLS)
        await place.converge(cluster)
        await rewrite(place, cluster, " password='[^']*'", "")
        with busy_clients(cluster):
            done = await place.converge(cluster)
            assert [change for change in done if isinstance(change, Reload)]
            assert ini(place, cluster).read_text().count("password='SCRAM-SHA-256$") == len(POOLS)
            assert ini(place, cluster).stat().st_mode & 0o777 == 0o600

    labs(scenario)


def test_another_password_drops_no_client_and_is_the_only_one_from_then_on(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = replace(place.new_cluster(), pools=POOLS)
        await place.converge(cluster)
        admin = replace(cluster.users[0], verifier=records.verifier("another-password"))
        with busy_clients(cluster):
            await place.converge(replace(cluster, users=(admin,)))
        for pool in POOLS:
            with client(cluster, pool.name, "another-password") as connection:
                assert connection.execute("SELECT 42").fetchone() == (42,)
            with pytest.raises(psycopg.OperationalError, match="authentication failed"), ExitStack() as stack:
                stack.enter_context(client(cluster, pool.name))

    labs(scenario)


def test_over_tcp_a_pooler_passes_a_clients_login_on_only_with_the_verifier_there(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = replace(place.new_cluster(), pools=POOLS[:1])
        await place.converge(cluster)
        await rewrite(place, cluster, "host='[^']*'", "host='127.0.0.1'")
        with client(cluster, "transactions") as connection:
            address = connection.execute("SELECT inet_client_addr()::text, current_user::text").fetchone()
            assert address == ("127.0.0.1/32", "doadmin")
        await rewrite(place, cluster, " password='[^']*'", "")
        session = place.session(cluster)
        await sql.console(session.sockets, session.pool_port, "RECONNECT")
        with pytest.raises(psycopg.OperationalError, match="wrong password type"), ExitStack() as stack:
            stack.enter_context(client(cluster, "transactions")).execute("SELECT 42")

    labs(scenario)
