"""Trusted sources on the real servers: who is let in, and who is put out."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from msgspec.structs import replace

from cenote.engine import look
from cenote.engine.plan import disconnect
from cenote.host.inspector import Inspector
from cenote.model.changes import Disconnect
from cenote.model.records import Cluster, FirewallRule, Pool, SourceType
from cenote.model.topology import writer_or_first
from tests.support import records
from tests.support.lab import Lab, Share
from tests.support.relay import relay

HOME, AWAY = "127.0.0.1", "127.0.0.9"
POOL = Pool(name="backend-pool", database="defaultdb", size=2, user="doadmin")

Connection = psycopg.AsyncConnection[Any]


async def connected(host: str, port: int, database: str) -> Connection:
    return await psycopg.AsyncConnection.connect(
        host=host,
        port=port,
        user="doadmin",
        password=records.PASSWORD,
        dbname=database,
        sslmode="require",
        connect_timeout=10,
        autocommit=True,
    )


@dataclass
class Town:
    """A cluster, and the ports where one comes out at each address."""

    lab: Lab
    cluster: Cluster
    doors: dict[tuple[str, str], int]

    async def allow(self, *values: str, kind: SourceType = SourceType.IP_ADDR) -> list[Any]:
        rules = tuple(
            FirewallRule(id=uuid4(), type=kind, value=value, created_at=datetime.now(UTC)) for value in values
        )
        self.cluster = replace(self.cluster, firewall=rules)
        return list(await self.lab.converge(self.cluster))

    async def connect(self, address: str, kind: str) -> Connection:
        database = "defaultdb" if kind == "direct" else POOL.name
        return await connected("127.0.0.1", self.doors[address, kind], database)

    async def admitted(self) -> set[tuple[str, str]]:
        """Return who can connect to what."""
        found = set()
        for address, kind in self.doors:
            with contextlib.suppress(psycopg.OperationalError):
                connection = await self.connect(address, kind)
                await connection.close()
                found.add((address, kind))
        return found


InTown = Callable[[Callable[[Town], Awaitable[None]]], None]


@pytest.fixture
def in_town(labs: Share) -> InTown:
    """Run a scenario in a new town."""

    def run(scenario: Callable[[Town], Awaitable[None]]) -> None:
        async def whole(lab: Lab) -> None:
            cluster = replace(lab.new_cluster(), pools=(POOL,))
            await lab.converge(cluster)
            ports = {"direct": writer_or_first(cluster).port, "pool": writer_or_first(cluster).pool_port}
            async with contextlib.AsyncExitStack() as stack:
                doors = {
                    (address, kind): await stack.enter_async_context(relay(port, address))
                    for address in (HOME, AWAY)
                    for kind, port in ports.items()
                }
                await scenario(Town(lab, cluster, doors))

        labs(whole)

    return run


async def works(connection: Connection) -> bool:
    try:
        await connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def everybody(*addresses: str) -> set[tuple[str, str]]:
    return {(address, kind) for address in addresses for kind in ("direct", "pool")}


def test_only_trusted_sources_can_connect_directly_and_through_a_pool(in_town: InTown) -> None:
    async def scenario(town: Town) -> None:
        assert await town.admitted() == everybody(HOME, AWAY)
        await town.allow(HOME)
        assert await town.admitted() == everybody(HOME)
        await town.allow("127.0.0.8/29", "2001:db8::/32")
        assert await town.admitted() == everybody(AWAY)
        await town.allow("backend", kind=SourceType.TAG)
        assert await town.admitted() == set()
        await town.allow()
        assert await town.admitted() == everybody(HOME, AWAY)

    in_town(scenario)


def test_who_is_connected_and_no_longer_trusted_is_disconnected_and_nobody_else(in_town: InTown) -> None:
    async def scenario(town: Town) -> None:
        links = {door: await town.connect(*door) for door in town.doors}
        try:
            for connection in links.values():
                assert await works(connection)
            await town.allow(HOME)
            assert {door for door, connection in links.items() if await works(connection)} == everybody(HOME)
        finally:
            for connection in links.values():
                await connection.close()

    in_town(scenario)


def test_a_client_within_a_transaction_is_disconnected_and_its_work_is_undone(in_town: InTown) -> None:
    async def scenario(town: Town) -> None:
        for kind in ("direct", "pool"):
            connection = await town.connect(AWAY, kind)
            try:
                await connection.execute("BEGIN")
                await connection.execute("CREATE TABLE unfinished (id int)")
                await town.allow(HOME)
                assert not await works(connection)
            finally:
                await connection.close()
            found = await town.lab.rows(town.cluster, "SELECT to_regclass('public.unfinished')", "defaultdb")
            assert found == [(None,)]
            await town.allow()

    in_town(scenario)


def test_once_the_rules_are_in_force_nothing_is_left_to_do(in_town: InTown) -> None:
    async def scenario(town: Town) -> None:
        connection = await town.connect(AWAY, "pool")
        try:
            done = await town.allow(HOME)
        finally:
            await connection.close()
        assert any(isinstance(change, Disconnect) for change in done)
        assert await town.lab.plan(town.cluster) == []

    in_town(scenario)


def test_a_pool_client_that_has_left_meanwhile_stops_no_pass(in_town: InTown) -> None:
    async def scenario(town: Town) -> None:
        session = town.lab.session(town.cluster)
        try:
            await town.lab.executor.do(Disconnect((4_000_000,)), session)
        finally:
            await session.close()

    in_town(scenario)


def test_nobody_is_looked_for_where_everybody_may_connect(in_town: InTown) -> None:
    async def scenario(town: Town) -> None:
        connection = await town.connect(AWAY, "direct")
        session = town.lab.session(town.cluster)
        try:
            context = town.lab.wanted(town.cluster)
            assert await look.disconnect.look_direct(Inspector(), context, session) == disconnect.Seen()
            assert await look.disconnect.look_pooled(Inspector(), context, session) == disconnect.Seen()
        finally:
            await session.close()
            await connection.close()

    in_town(scenario)


def test_an_ipv6_source_lets_in_its_own_and_no_ipv4_client(labs: Share) -> None:
    here = False
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        here = True
    if not here:
        pytest.skip("this machine has no IPv6, not even for itself")

    async def scenario(lab: Lab) -> None:
        lab.host = dataclasses.replace(lab.host, listen=("127.0.0.1", "::1"))
        try:
            plain = replace(lab.new_cluster(), pools=(POOL,))
            for value, expected in (("::1/128", ["::1"]), ("127.0.0.0/8", ["127.0.0.1"])):
                town = Town(lab, plain, {})
                await town.allow(value)
                for port, database in (
                    (writer_or_first(plain).port, "defaultdb"),
                    (writer_or_first(plain).pool_port, POOL.name),
                ):
                    admitted = []
                    for address in ("127.0.0.1", "::1"):
                        with contextlib.suppress(psycopg.OperationalError):
                            await (await connected(address, port, database)).close()
                            admitted.append(address)
                    assert admitted == expected
        finally:
            lab.host = dataclasses.replace(lab.host, listen=("127.0.0.1",))

    labs(scenario)
