"""Pools of a cluster with several nodes: they lead to the primary whichever it is, and to a standby."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from cenote.model.event_records import EventType
from cenote.model.records import Cluster, Pool, PoolMode
from cenote.model.timing import Timing
from cenote.rules import switches
from tests.integration.test_ha_node import SECONDS, all_stream, leader, of_nodes, postmaster
from tests.support import records
from tests.support.agent import Agents, AtWork, running_agents
from tests.support.waiting import wait_until_async

CLIENTS = 8


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    yield from running_agents(Timing(backoff_max=1, resync_interval=2))


async def with_pool(at: AtWork, count: int, *others: Pool) -> Cluster:
    cluster = await of_nodes(at, count)
    pool = Pool(name="backend-pool", database="defaultdb", size=5)
    await at.store.update_cluster(cluster.id, lambda one: replace(one, pools=(pool, *others)))
    await all_stream(at, cluster)
    return cluster


async def through(cluster: Cluster, pool: str) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(
        host="127.0.0.1",
        port=cluster.nodes[0].pool_port,
        dbname=pool,
        user="doadmin",
        password=records.PASSWORD,
        sslmode="require",
        connect_timeout=60,
        autocommit=True,
    )


@dataclass
class Clients:
    """Clients of a pool that write row after row, each over one connection for as long as that lasts."""

    cluster: Cluster
    written: set[tuple[int, int]] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    longest: float = 0.0  # seconds

    async def write(self, client: int) -> None:
        number, loop = 0, asyncio.get_running_loop()
        while True:
            try:
                async with await through(self.cluster, "backend-pool") as connection:
                    while True:
                        number += 1
                        began = loop.time()
                        await connection.execute("INSERT INTO ledger VALUES (%s, %s)", (client, number))
                        self.longest = max(self.longest, loop.time() - began)
                        self.written.add((client, number))
                        await asyncio.sleep(0.002)
            except psycopg.Error as error:
                self.failures.append(str(error))
                await asyncio.sleep(0.05)

    async def more(self, number: int = 200) -> None:
        before = len(self.written)
        await wait_until_async("rows are written", 30, lambda: len(self.written) > before + number)


@contextlib.asynccontextmanager
async def writing(cluster: Cluster) -> AsyncIterator[Clients]:
    async with await through(cluster, "backend-pool") as connection:
        await connection.execute("CREATE TABLE ledger (client int, number int)")
    clients = Clients(cluster)
    tasks = [asyncio.create_task(clients.write(number)) for number in range(CLIENTS)]
    try:
        await clients.more()
        yield clients
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def found(cluster: Cluster) -> set[tuple[int, int]]:
    async with await through(cluster, "backend-pool") as connection:
        return set(await (await connection.execute("SELECT client, number FROM ledger")).fetchall())


async def switch(at: AtWork, cluster: Cluster, *, cut: bool = False) -> None:
    """Have another node take writes, as the API does, and wait until that is over."""

    def begun(current: Cluster) -> Cluster:
        reports = at.store.reports(cluster.id)
        return switches.begun(current, at.store.leader(current), reports, datetime.now(UTC), cut=cut)

    await at.store.update_cluster(cluster.id, begun)

    def is_over() -> bool:
        now = at.store.living_cluster(cluster.id)
        return now is not None and now.switchover is None

    await wait_until_async("the switch is over", 60, is_over)


async def promotions(at: AtWork, cluster: Cluster) -> list[str]:
    events = await at.store.events(cluster.id)
    return [one.note.what for one in events if one.note.type is EventType.CLUSTER_MASTER_PROMOTION]


def test_a_planned_switch_fails_no_query_of_a_pool(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await with_pool(at, 2)
        async with writing(cluster) as clients:
            for _ in range(3):
                before = leader(at, cluster)
                assert before is not None
                clients.longest = 0.0
                await switch(at, cluster)
                after = leader(at, cluster)
                assert after != before
                await clients.more()
                print(f"held {clients.longest:.3f} s")
                await all_stream(at, cluster, other_than=before.name)
            assert clients.failures == []
        assert await found(cluster) >= clients.written
        told = await promotions(at, cluster)
        assert len(told) == 3
        assert all(": a switch was asked for" in one for one in told)
        # Hosts have three seconds to report that.
        assert any("; clients of its pools were held for " in one for one in told)

    agents.run(scenario)


def test_clients_of_a_pool_go_on_with_the_next_primary_when_one_is_killed(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await with_pool(at, 2)
        async with writing(cluster) as clients:
            before = leader(at, cluster)
            assert before is not None
            [other] = [node.name for node in cluster.nodes if node.name != before.name]
            async with asyncio.timeout(SECONDS):  # until then the killed one would be started again
                while not await at.store.failover_requests.takes(cluster.id, other):
                    await asyncio.sleep(0.05)
            os.kill(postmaster(at, cluster, before.name).pid, signal.SIGKILL)
            after = await all_stream(at, cluster, other_than=before.name)
            failed = len(clients.failures)  # queries under way, and logins before the pool was held
            await clients.more()
            print(f"gap {clients.longest:.3f} s, {failed} failed: {Counter(clients.failures)}")
            assert len(clients.failures) == failed, "nobody fails once another node takes writes"
        assert await found(cluster) >= clients.written
        # The event waits for a moment for the reason, which the former primary's agent tells.
        [told] = await wait_until_async("it is told", SECONDS, lambda: promotions(at, cluster))
        assert told.startswith(f"promoted {after.name} in place of {before.name}")

    agents.run(scenario)


def test_a_pool_leads_to_a_standby_under_another_name(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await with_pool(at, 2)
        for _ in range(2):
            async with await through(cluster, "backend-pool.standby") as connection:
                answer = await (await connection.execute("SELECT pg_is_in_recovery()")).fetchone()
                assert answer == (True,)
                with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                    await connection.execute("CREATE TABLE here (n int)")
            before = leader(at, cluster)
            assert before is not None
            await switch(at, cluster)
            await all_stream(at, cluster, other_than=before.name)

    agents.run(scenario)


def test_a_switch_waits_for_a_long_transaction_and_holds_nobody_meanwhile(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await with_pool(at, 2)
        async with writing(cluster) as clients, await through(cluster, "backend-pool") as slow:
            await slow.execute("BEGIN")
            await slow.execute("INSERT INTO ledger VALUES (-1, -1)")
            clients.longest = 0.0
            switching = asyncio.create_task(switch(at, cluster))
            await asyncio.sleep(4)
            assert not switching.done()
            assert clients.longest < 2.0, clients.longest
            await clients.more()
            await slow.execute("COMMIT")
            await switching
            await clients.more()
            assert clients.failures == []
        assert (-1, -1) in await found(cluster)

    agents.run(scenario)


def test_a_switch_that_is_to_cut_ends_long_transactions_and_sessions_once(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        sessions = Pool(name="sessions", database="defaultdb", size=2, mode=PoolMode.SESSION)
        cluster = await with_pool(at, 2, sessions)
        async with contextlib.AsyncExitStack() as stack:
            clients = await stack.enter_async_context(writing(cluster))
            slow, kept = [
                await stack.enter_async_context(await through(cluster, pool))
                for pool in ("backend-pool", "sessions")
            ]
            await kept.execute("SELECT 1")
            await slow.execute("BEGIN")
            await slow.execute("INSERT INTO ledger VALUES (-1, -1)")
            await switch(at, cluster, cut=True)
            await clients.more()
            assert clients.failures == []
            for ended in (slow, kept):
                with pytest.raises(psycopg.OperationalError):
                    await ended.execute("SELECT 1")
            async with await through(cluster, "sessions") as again:
                await again.execute("INSERT INTO ledger VALUES (-2, -2)")
        rows = await found(cluster)
        assert (-1, -1) not in rows
        assert rows >= clients.written

    agents.run(scenario)


def test_a_switch_to_a_node_that_is_removed_meanwhile_lets_clients_go_on(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await with_pool(at, 2)
        name = leader(at, cluster)
        assert name is not None
        async with writing(cluster) as clients:
            await at.store.update_cluster(
                cluster.id,
                lambda one: replace(
                    switches.begun(one, name.name, at.store.reports(cluster.id), datetime.now(UTC)),
                ),
            )
            await at.store.update_cluster(cluster.id, lambda one: replace(one, switchover=None))
            await clients.more()
            assert clients.failures == []

    agents.run(scenario)
