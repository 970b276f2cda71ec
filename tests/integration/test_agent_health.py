"""The health that an agent reports is that of the servers: whatever ends, blocks or hangs them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.sql import SQL

from cenote.errors import CenoteError
from cenote.host import pauses, processes, sql
from cenote.model.changes import Program
from cenote.model.records import Cluster
from cenote.model.timing import Timing
from cenote.model.topology import Health, Topology, topology
from tests.support import records
from tests.support.agent import SETTLE_SECONDS, Agents, AtWork, answers, running, running_agents
from tests.support.waiting import wait_until_async


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    yield from running_agents(Timing(backoff_max=1, resync_interval=1))


def seen(at: AtWork, cluster: Cluster) -> Topology:
    return topology(cluster, at.store.reports(cluster.id), at.store.presences())


async def becomes(at: AtWork, cluster: Cluster, health: Health, words: str = "") -> Topology:
    """Wait until the cluster has this health, with these words in the reason."""

    def has() -> bool:
        now = seen(at, cluster)
        return now.health is health and words in now.reason

    await wait_until_async(f"{health}: {words}", SETTLE_SECONDS, has)
    return seen(at, cluster)


@contextmanager
def stopped_processes(program: Program) -> Iterator[None]:
    """Stop a server and its children, so that they are there and answer nothing."""
    main = running(program)
    found = [main.pid, *processes.children(main.pid)]
    try:
        send(signal.SIGSTOP, found)
        yield
    finally:
        send(signal.SIGCONT, found)


def send(what: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # a backend that has ended meanwhile
            os.kill(pid, what)


@contextmanager
def unstartable(at: AtWork, cluster: Cluster) -> Iterator[None]:
    """Kill the server, and keep it from starting again."""
    data = at.lab.wanted(cluster).paths.data
    server = running(at.server(cluster))
    data.chmod(0)
    try:
        os.kill(server.pid, signal.SIGKILL)
        yield
    finally:
        data.chmod(0o700)


async def pass_seconds(seconds: float) -> None:
    end = datetime.now(UTC) + timedelta(seconds=seconds)
    await wait_until_async("time has passed", 60, lambda: datetime.now(UTC) > end)


def test_a_server_whose_port_another_program_has_is_down_since_it_ended(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        healthy = await becomes(at, cluster, Health.HEALTHY)
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with unstartable(at, cluster):
                down = await becomes(at, cluster, Health.DOWN, "does not start")
                other.bind(("127.0.0.1", cluster.nodes[0].port))
                other.listen()
            # Each attempt to start it fails as well, for whatever reason; the state began with the first.
            taken = await becomes(at, cluster, Health.DOWN, "another program listens on port")
            await pass_seconds(3)
            assert seen(at, cluster) == taken
        assert healthy.since is not None
        assert down.since is not None
        assert taken.since == down.since >= healthy.since
        again = await becomes(at, cluster, Health.HEALTHY)
        assert again.since is not None
        assert again.since > down.since
        assert await answers(cluster)

    agents.run(scenario)


def test_what_keeps_the_server_from_starting_makes_the_cluster_down(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        control = at.lab.wanted(cluster).paths.data / "global" / "pg_control"
        away = control.with_name("pg_control.away")
        with unstartable(at, cluster):
            await becomes(at, cluster, Health.DOWN)
            control.rename(away)
        down = await becomes(at, cluster, Health.DOWN, "pg_control")
        assert "does not start" in down.reason
        away.rename(control)
        await becomes(at, cluster, Health.HEALTHY)

    agents.run(scenario)


def test_a_folder_in_place_of_the_pid_file_keeps_the_server_from_nothing(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        pid_file = at.server(cluster).pid_file
        with unstartable(at, cluster):
            await becomes(at, cluster, Health.DOWN)
            pid_file.unlink()
            pid_file.mkdir()
        await becomes(at, cluster, Health.HEALTHY)

    agents.run(scenario)


def test_a_server_that_hangs_is_down_though_its_process_is_there(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        with stopped_processes(at.server(cluster)):
            down = await becomes(at, cluster, Health.DOWN)
            assert "PostgreSQL" in down.reason
            assert at.status(cluster).unresponsive == ("PostgreSQL",)
            assert at.status(cluster).stopped == ()
        await becomes(at, cluster, Health.HEALTHY)

    agents.run(scenario)


def test_a_query_to_a_server_that_hangs_comes_to_an_end(
    agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "_GRACE_SECONDS", 1)

    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        wanted = at.lab.wanted(cluster)
        node = wanted.node
        session = sql.Session(wanted.cluster_paths.sockets, node.port, node.pool_port, statement_seconds=1)
        assert await session.rows("defaultdb", "SELECT 42") == [(42,)]
        with stopped_processes(at.server(cluster)), pytest.raises(CenoteError, match="has not answered"):
            await session.rows("defaultdb", "SELECT 42")
        await session.close()
        assert await session.rows("defaultdb", "SELECT 42") == [(42,)]
        # Such a change begins with a statement that is not its own.
        with stopped_processes(at.server(cluster)), pytest.raises(CenoteError, match="has not answered"):
            await session.run("defaultdb", "a change", [SQL("SELECT 42")], atomic=True)
        await session.close()

    agents.run(scenario)


def test_a_command_that_the_pooler_does_not_answer_comes_to_an_end(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        wanted = at.lab.wanted(cluster)
        place = wanted.cluster_paths.sockets, wanted.node.pool_port
        async with await psycopg.AsyncConnection.connect(
            host="localhost",
            port=wanted.node.pool_port,
            dbname="backend-pool",
            user="doadmin",
            password=records.PASSWORD,
            sslmode="require",
        ) as client:
            await client.execute("SELECT 42")  # of a transaction, whose end PAUSE waits for
            with pytest.raises(CenoteError, match="PgBouncer does not answer"):
                await sql.console(*place, "PAUSE", seconds=0.5)
        await becomes(at, cluster, Health.HEALTHY)

    agents.run(scenario)


def test_a_pooler_that_ended_or_hangs_makes_the_cluster_degraded(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        with stopped_processes(at.bouncer(cluster)):
            await becomes(at, cluster, Health.DEGRADED, "PgBouncer")
            assert await answers(cluster, pool=None)
        await becomes(at, cluster, Health.HEALTHY)
        bouncer = running(at.bouncer(cluster))
        os.kill(bouncer.pid, signal.SIGKILL)
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            while (
                processes.identify(bouncer.pid) is not None
            ):  # the agent, in this loop, starts none meanwhile
                pass
            other.bind(("127.0.0.1", cluster.nodes[0].pool_port))
            other.listen()
            await becomes(at, cluster, Health.DEGRADED, "another program listens on port")
            assert at.status(cluster).stopped == ("PgBouncer",)
            assert await answers(cluster, pool=None)
        await becomes(at, cluster, Health.HEALTHY)

    agents.run(scenario)


def test_pools_that_somebody_keeps_paused_make_the_cluster_degraded(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        wanted = at.lab.wanted(cluster)
        folder, sockets = wanted.cluster_paths.root, wanted.cluster_paths.sockets
        pooler = pauses.Pooler(folder, sockets / f".s.PGSQL.{wanted.node.pool_port}")
        held = await pauses.hold(pooler, "controller", "a switchover")
        try:
            await sql.console(sockets, wanted.node.pool_port, "PAUSE")
            await becomes(at, cluster, Health.DEGRADED, "paused by the controller: a switchover")
        finally:
            held.let_go()
            await pauses.remove(folder, "controller")
        await becomes(at, cluster, Health.HEALTHY)
        assert await answers(cluster)

    agents.run(scenario)
