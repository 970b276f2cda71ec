"""A cluster with several nodes on one host: Patroni runs them, by the agent alone and without an API."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from cenote.host import processes
from cenote.model.paths import NodePaths
from cenote.model.processes import Process
from cenote.model.records import Cluster, Configuration, Node
from cenote.model.timing import Timing
from cenote.rules import switches
from tests.support import process_table, records
from tests.support.agent import PATRONI, Agents, AtWork, running_agents
from tests.support.ports import free_range
from tests.support.waiting import wait_until_async

SECONDS = 90


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    yield from running_agents(Timing(backoff_max=1, resync_interval=2))


def nodes(count: int) -> tuple[Node, ...]:
    """Nodes that share the host ``here``, and so its pooler."""
    pool = free_range(1)
    return tuple(
        Node(name=f"node-{number}", host="here", port=free_range(1), pool_port=pool)
        for number in range(1, count + 1)
    )


@dataclass
class Ledger:
    """Rows that were acknowledged by whichever node takes writes."""

    at: AtWork
    cluster: Cluster
    acknowledged: list[int] = field(default_factory=list)
    failed: int = 0

    async def write(self) -> None:
        """Write row after row until cancelled."""
        number = 0
        while True:
            number += 1
            try:
                leader = self.at.host.agreed(self.cluster.id).leader
                node = next(node for node in self.cluster.nodes if node.name == leader)
                async with await connected(node) as connection:
                    while True:
                        await connection.execute("INSERT INTO ledger VALUES (%s)", (number,))
                        self.acknowledged.append(number)
                        number += 1
                        await asyncio.sleep(0.005)
            except (psycopg.Error, StopIteration):
                self.failed += 1
                await asyncio.sleep(0.05)


async def connected(node: Node) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(
        host="127.0.0.1",
        port=node.port,
        dbname="defaultdb",
        user="doadmin",
        password=records.PASSWORD,
        sslmode="require",
        connect_timeout=5,
        autocommit=True,
    )


async def rows(node: Node, query: str) -> list[tuple[Any, ...]]:
    async with await connected(node) as connection:
        return await (await connection.execute(query.encode())).fetchall()


def paths(at: AtWork, cluster: Cluster, name: str) -> NodePaths:
    return at.lab.layout.node(cluster.id, name)


def leader(at: AtWork, cluster: Cluster) -> Node | None:
    name = at.host.agreed(cluster.id).leader
    return next((node for node in cluster.nodes if node.name == name), None)


def postmaster(at: AtWork, cluster: Cluster, name: str) -> Process:
    program = paths(at, cluster, name).server(at.lab.wanted(cluster).server_binaries)
    found = processes.find(program)
    assert found is not None, f"PostgreSQL of {name} does not run"
    return found


def failover_agent(at: AtWork, cluster: Cluster, name: str) -> Process:
    found = processes.find(paths(at, cluster, name).failover_agent(Path()))
    assert found is not None, f"Patroni of {name} does not run"
    return found


async def all_stream(at: AtWork, cluster: Cluster, *, other_than: str = "") -> Node:
    """Wait until each other node follows the one that takes writes; return that."""

    def do() -> Node | None:
        stored, writer = at.store.cluster(cluster.id), leader(at, cluster)
        if stored is None or writer is None or writer.name == other_than:
            return None
        reports = at.store.reports(cluster.id)
        if set(reports) != {node.name for node in cluster.nodes}:
            return None
        others = [report for name, report in reports.items() if name != writer.name]
        follow = all(report.standby is not None and report.standby.streaming for report in others)
        settled = all(report.reached >= stored.revision and not report.reason for report in reports.values())
        has_all = len(reports[writer.name].quorum) == len(others)
        return writer if follow and settled and has_all and reports[writer.name].standby is None else None

    try:
        found: Node | None = await wait_until_async("all nodes stream", SECONDS, do)
        assert found is not None
        return found
    except AssertionError:
        for name, report in sorted(at.store.reports(cluster.id).items()):
            print(name, report)
        print(at.host.agreed(cluster.id))
        for node in cluster.nodes:
            with contextlib.suppress(OSError):
                log = paths(at, cluster, node.name).patroni / "patroni.log"
                print(node.name, *log.read_text().splitlines()[-15:], sep="\n")
        raise


async def of_nodes(at: AtWork, count: int, **changes: Any) -> Cluster:
    cluster = replace(at.lab.new_cluster(), nodes=nodes(count), **changes)
    await at.store.add_cluster(cluster)
    await all_stream(at, cluster)
    return cluster


async def all_may_take_over(at: AtWork, cluster: Cluster, first: Node) -> None:
    """Wait until Patroni counts on each of the others; until then a primary that dies is started again.

    It writes that into the store up to some seconds after commits wait for them.
    """

    async def do() -> bool:
        others = [node.name for node in cluster.nodes if node != first]
        return all([await at.store.failover_requests.takes(cluster.id, name) for name in others])

    await wait_until_async("Patroni counts on the others", SECONDS, do)


async def with_ledger(at: AtWork) -> tuple[Cluster, Node]:
    """Make a cluster of three nodes with a table; return the primary, too."""
    cluster = await of_nodes(at, 3)
    first = leader(at, cluster)
    assert first is not None
    async with await connected(first) as connection:
        await connection.execute("CREATE TABLE ledger (number int)")
    return cluster, first


def test_killed_postmaster_of_the_primary_is_replaced_without_a_lost_row(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster, first = await with_ledger(at)
        ledger = Ledger(at, cluster)
        writing = asyncio.create_task(ledger.write())
        await wait_until_async("rows are written", 20, lambda: len(ledger.acknowledged) > 50)
        await all_may_take_over(at, cluster, first)
        os.kill(postmaster(at, cluster, first.name).pid, signal.SIGKILL)

        def moved() -> Node | None:
            now = leader(at, cluster)
            return now if now is not None and now != first else None

        second: Node | None = await wait_until_async("another node leads", SECONDS, moved)
        assert second is not None
        before = len(ledger.acknowledged)
        await wait_until_async("rows are written again", 20, lambda: len(ledger.acknowledged) > before + 50)
        await all_stream(at, cluster, other_than=first.name)
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
        found = {number for (number,) in await rows(second, "SELECT number FROM ledger")}
        assert set(ledger.acknowledged) <= found
        assert (await rows(first, "SELECT pg_is_in_recovery()")) == [(True,)]

    agents.run(scenario)


def test_killed_postmaster_of_a_primary_that_no_node_can_replace_is_started_again(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster, first = await with_ledger(at)
        await all_may_take_over(at, cluster, first)
        frozen = [failover_agent(at, cluster, node.name) for node in cluster.nodes if node != first]
        killed = postmaster(at, cluster, first.name)
        for process in frozen:
            os.kill(process.pid, signal.SIGSTOP)
        try:
            os.kill(killed.pid, signal.SIGKILL)

            async def writes() -> bool:
                with contextlib.suppress(psycopg.Error):
                    return await rows(first, "INSERT INTO ledger VALUES (1) RETURNING number") == [(1,)]
                return False

            await wait_until_async("it takes writes again", SECONDS, writes)
            assert leader(at, cluster) == first
            assert postmaster(at, cluster, first.name) != killed
        finally:
            for process in frozen:
                os.kill(process.pid, signal.SIGCONT)
        assert await all_stream(at, cluster) == first

    agents.run(scenario)


def test_a_switch_that_was_asked_for_loses_no_row_when_the_primary_is_lost_before_it_gives_up(
    agents: Agents,
) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await of_nodes(at, 3)
        first = leader(at, cluster)
        assert first is not None
        late, third = [node for node in cluster.nodes if node != first]
        async with await connected(first) as connection:
            await connection.execute("CREATE TABLE ledger (number int)")
        await all_may_take_over(at, cluster, first)
        for node in (late, third):
            await wait_until_async("it has the table", SECONDS, functools.partial(has_table, node))
        patroni = failover_agent(at, cluster, first.name)
        children = processes.children(postmaster(at, cluster, late.name).pid)
        [receiver] = process_table.naming("walreceiver", children)
        os.kill(receiver, signal.SIGSTOP)
        async with await connected(first) as connection:  # the third node acknowledges it
            await connection.execute("INSERT INTO ledger SELECT generate_series(1, 1000)")
        os.kill(patroni.pid, signal.SIGSTOP)
        assert await at.store.failover_requests.ask(cluster.id, first.name, late.name)
        for process in processes.below(paths(at, cluster, first.name).data):
            os.kill(process.pid, signal.SIGKILL)
        os.kill(receiver, signal.SIGKILL)  # with what it had not read yet
        await wait_until_async(
            "another node leads", SECONDS, lambda: leader(at, cluster) not in (first, None)
        )
        os.kill(patroni.pid, signal.SIGCONT)
        assert await all_stream(at, cluster, other_than=first.name) == third
        assert await rows(third, "SELECT count(*) FROM ledger") == [(1000,)]

    async def has_table(node: Node) -> bool:
        return await rows(node, "SELECT to_regclass('ledger') IS NOT NULL") == [(True,)]

    agents.run(scenario)


def test_no_failover_follows_a_switch_that_was_cancelled_after_patroni_was_asked(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        patient = Configuration(failover={"max_failover_replication_time_lag": 60})  # of a frozen Patroni
        cluster = await of_nodes(at, 3, configuration=patient)
        first = leader(at, cluster)
        assert first is not None
        await all_may_take_over(at, cluster, first)
        patroni, store = failover_agent(at, cluster, first.name), at.store

        def begun(current: Cluster) -> Cluster:
            now = datetime.now(UTC)
            return switches.begun(current, first.name, store.reports(cluster.id), now, seconds=600)

        async def asked() -> bytes | None:
            found = await store.client.read(f"{PATRONI}{cluster.id}/failover")
            return None if found is None else found.value

        async def is_asked() -> bool:
            return b"member" in (await asked() or b"")

        async def is_withdrawn() -> bool:
            return await asked() == b"{}"

        os.kill(patroni.pid, signal.SIGSTOP)
        try:
            await store.update_cluster(cluster.id, begun)
            await wait_until_async("Patroni is asked", SECONDS, is_asked)
            await store.update_cluster(cluster.id, switches.cancelled)
            await wait_until_async("that is taken back", SECONDS, is_withdrawn)
            assert leader(at, cluster) == first
        finally:
            os.kill(patroni.pid, signal.SIGCONT)
        assert await all_stream(at, cluster) == first

    agents.run(scenario)
