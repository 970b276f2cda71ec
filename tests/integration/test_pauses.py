"""Pauses of poolers outlive nobody: neither the service that asked for one, nor the process that ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from msgspec.structs import replace

from cenote.errors import CenoteError
from cenote.host import pauses, processes, sql
from cenote.host.pauses import Pooler
from cenote.model import pauses as model
from cenote.model.changes import HoldPools, Restart, Resume
from cenote.model.paths import Layout
from cenote.model.pauses import AGENT, LEASE, MOVE
from cenote.model.records import Cluster, Pool, PoolMode
from cenote.model.topology import writer_or_first
from cenote.rules import configuration
from cenote.rules.configuration import HostCapabilities
from cenote_client import Client
from tests.support import process_table, records
from tests.support.agent import ask
from tests.support.lab import Lab, Share
from tests.support.load import load
from tests.support.service import Service, added_pool, answer_of, calling, online, online_cluster, tried
from tests.support.waiting import wait_until, wait_until_async

POOLS = (
    Pool(name="transactions", database="defaultdb", size=2, user="doadmin"),
    Pool(name="sessions", database="defaultdb", size=2, user="doadmin", mode=PoolMode.SESSION),
)


def guards(folder: Path) -> list[int]:
    """Return the processes that watch pauses of poolers below a folder."""
    return [
        pid
        for pid, arguments in process_table.command_lines().items()
        if any(argument.endswith("resume_guard.py") for argument in arguments)
        and str(folder) in " ".join(arguments)
    ]


def spares() -> list[int]:
    """Return the guards of this process that wait for a pause to watch."""
    found = process_table.command_lines(processes.children(os.getpid()))
    return [pid for pid, arguments in found.items() if "".join(arguments[-1:]).endswith("resume_guard.py")]


def pooler_of(place: Lab, cluster: Cluster) -> Pooler:
    paths = place.layout.cluster(cluster.id)
    return Pooler(paths.root, paths.sockets / f".s.PGSQL.{writer_or_first(cluster).pool_port}")


async def console(place: Lab, cluster: Cluster, command: str) -> list[dict[str, Any]]:
    session = place.session(cluster)
    return (await sql.console(session.sockets, session.pool_port, command))[0]


async def is_paused(place: Lab, cluster: Cluster) -> bool:
    return {"key": "paused", "value": "yes"} in await console(place, cluster, "SHOW STATE")


def restarting(place: Lab, cluster: Cluster, number: int) -> Cluster:
    """The same cluster with a setting that needs a restart."""
    around = HostCapabilities(place.host.memory_mib, (), frozenset())
    return configuration.change(cluster, {"track_activity_query_size": 1024 + number}, {}, around)


def test_a_restart_leaves_neither_a_guard_nor_a_file_behind(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = replace(place.new_cluster(), pools=POOLS)
        await place.converge(cluster)
        folder = place.layout.cluster(cluster.id).root
        seen = []
        async with asyncio.TaskGroup() as group:
            converging = group.create_task(place.converge(restarting(place, cluster, 1)))
            while not converging.done():
                seen += [pauses.read(folder)]
                await asyncio.sleep(0.002)
        held = [pause for pause in seen if pause is not None]
        assert {(pause.owner, pause.why) for pause in held} == {(AGENT, "PostgreSQL is being restarted")}
        assert await ask(cluster, pool="transactions") == 42
        assert not model.file_of(folder).exists()
        await wait_until_async("the guard has ended", 5, lambda: not guards(folder))

    labs(scenario)


def test_the_file_is_the_servers_accounts_alone_and_the_guard_shows_no_secret(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = replace(place.new_cluster(), pools=POOLS)
        await place.converge(cluster)
        pooler = pooler_of(place, cluster)
        hold = await pauses.hold(pooler, AGENT, "a test")
        state = model.file_of(pooler.folder).stat()
        assert (state.st_mode & 0o777, state.st_uid) == (0o600, pooler.folder.stat().st_uid)
        [guard] = guards(pooler.folder)
        assert os.getsid(guard) == guard
        assert not [path for path in process_table.open_files(guard) if "socket" in path]
        held = pauses.read(pooler.folder)
        assert held is not None
        assert process_table.command_lines([guard])[guard][-4:] == [
            str(pooler.console),
            str(pooler.folder),
            "pause.json",
            held.id,
        ]
        hold.let_go()
        await pauses.remove(pooler.folder, AGENT)
        await wait_until_async("the guard has ended", 5, lambda: processes.identify(guard) is None)
        processes.reap()
        assert processes.stat_fields(guard) is None  # no zombie either

    labs(scenario)


def test_a_pause_that_nobody_prolongs_ends_at_its_deadline_and_not_before(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = replace(place.new_cluster(), pools=POOLS)
        await place.converge(cluster)
        pooler = pooler_of(place, cluster)
        hold = await pauses.hold(pooler, AGENT, "a test")
        await console(place, cluster, "PAUSE")
        await asyncio.sleep(LEASE * 0.3)  # it is prolonged meanwhile
        hold.let_go()
        await asyncio.sleep(LEASE * 0.6)
        assert await is_paused(place, cluster)
        assert await ask(cluster, pool="transactions") == 42
        await wait_until_async("the file is gone", 5, lambda: not model.file_of(pooler.folder).exists())

    labs(scenario)


def test_pools_that_are_held_by_name_are_resumed_by_the_guard_of_a_holder_that_is_gone(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = replace(place.new_cluster(), pools=POOLS)
        await place.converge(cluster)
        pooler, session = pooler_of(place, cluster), place.session(cluster)
        hold = await pauses.hold(pooler, MOVE, "a test")
        await sql.pause_pools(session.sockets, session.pool_port, ["transactions", "sessions"], 5)
        hold.let_go()
        assert await session.is_paused()
        await session.close()
        began = time.monotonic()
        await asyncio.sleep(LEASE / 2)  # a client waits for its connection no longer than the lease lasts
        assert await ask(cluster, pool="transactions") == 42
        assert time.monotonic() - began > LEASE / 2
        assert await ask(cluster, pool="sessions") == 42

    labs(scenario)


def test_pools_are_held_within_the_time_that_they_get_or_none_of_them(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = replace(place.new_cluster(), pools=POOLS)
        await place.converge(cluster)
        session, bouncer = place.session(cluster), place.wanted(cluster).bouncer
        hold = HoldPools(bouncer, "a test", ("transactions",), patience=0.4, or_none=True)
        async with transaction_in(cluster, "transactions"):
            with pytest.raises(CenoteError, match="busy: a transaction in the pool transactions"):
                await place.executor.do(hold, session)
            assert await ask(cluster, pool="transactions") == 42
        assert not place.executor.holds(bouncer, hold.pools)
        await place.executor.do(hold, session)
        assert await session.is_paused()
        assert place.executor.holds(bouncer, hold.pools)
        assert not place.executor.holds(bouncer, ("transactions", "another"))
        await place.executor.do(Resume(bouncer), session)
        assert not place.executor.holds(bouncer, hold.pools)
        assert await ask(cluster, pool="transactions") == 42
        early = HoldPools(bouncer, "a test", ("not made yet", "transactions"), or_none=True)
        await place.executor.do(early, session)
        assert await session.is_paused(), "PgBouncer knows one of them"
        await place.executor.do(Resume(bouncer), session)
        await session.close()
        assert not model.file_of(pooler_of(place, cluster).folder).exists()

    labs(scenario)


@contextlib.asynccontextmanager
async def transaction_in(cluster: Cluster, pool: str) -> AsyncIterator[None]:
    """Keep a transaction open."""
    node = writer_or_first(cluster)
    async with await psycopg.AsyncConnection.connect(
        f"host=localhost port={node.pool_port} dbname={pool} user=doadmin sslmode=require",
        password=records.PASSWORD,
    ) as connection:
        await connection.execute("SELECT 1")
        yield


def test_a_guard_that_was_started_before_resumes_pools_whose_holder_is_gone(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = replace(place.new_cluster(), pools=POOLS)
        await place.converge(cluster)
        pooler, spare = pooler_of(place, cluster), pauses.SpareGuard()
        spare.prepare()
        [waiting] = spares()
        hold = await pauses.hold(pooler, MOVE, "a test", spare)
        assert guards(pooler.folder) == [], "no other one was started"
        await sql.pause_pools(pooler.console.parent, writer_or_first(cluster).pool_port, ["transactions"], 5)
        hold.let_go()
        seconds = LEASE + 10
        await wait_until_async("the pools go on", seconds, lambda: answers(cluster))
        await wait_until_async("the guard has ended", 5, lambda: processes.identify(waiting) is None)
        spare.prepare()
        [unused] = spares()
        spare.close()  # as when the agent ends
        await wait_until_async("it has ended, too", 5, lambda: processes.identify(unused) is None)

    async def answers(cluster: Cluster) -> bool:
        with contextlib.suppress(psycopg.OperationalError):  # it waits, longer than it cares to
            return bool(await ask(cluster, pool="transactions") == 42)
        return False

    labs(scenario)


def test_a_guard_leaves_the_pause_of_another_alone(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = replace(place.new_cluster(), pools=POOLS)
        await place.converge(cluster)
        pooler = pooler_of(place, cluster)
        first = await pauses.hold(pooler, AGENT, "the first")
        first.let_go()
        second = await pauses.hold(pooler, AGENT, "the second")
        await wait_until_async("one guard is left", 5, lambda: len(guards(pooler.folder)) == 1)
        await console(place, cluster, "PAUSE")
        await asyncio.sleep(LEASE + 1)  # the second is prolonged
        assert await is_paused(place, cluster)
        with pytest.raises(CenoteError, match="the pools are paused by the agent: the second"):
            await pauses.hold(pooler, "controller", "a switch")
        second.let_go()
        await place.converge(cluster)
        assert not await is_paused(place, cluster)

    labs(scenario)


def test_the_pause_of_another_owner_without_a_guard_lasts_until_its_deadline(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = replace(place.new_cluster(), pools=POOLS)
        await place.converge(cluster)
        pooler = pooler_of(place, cluster)
        hold = await pauses.hold(pooler, "controller", "the primary moves")
        await console(place, cluster, "PAUSE")
        hold.let_go()
        began = time.monotonic()
        for guard in guards(pooler.folder):
            os.kill(guard, signal.SIGKILL)
        await place.converge(cluster)
        assert time.monotonic() - began > LEASE - 1
        assert await ask(cluster, pool="transactions") == 42
        assert await place.plan(cluster) == []

    labs(scenario)


def test_a_pause_without_a_guard_is_not_made(labs: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(place: Lab) -> None:
        cluster = replace(place.new_cluster(), pools=POOLS)
        await place.converge(cluster)
        server = processes.find(place.wanted(cluster).server)
        monkeypatch.setattr("sys.executable", "/nonexistent/python")
        with load(uri(cluster, "transactions"), clients=2) as busy:
            with pytest.raises(CenoteError, match="cannot start the process that ends a pause"):
                await place.converge(restarting(place, cluster, 2))
            busy.proceed(20)
        assert busy.errors == []
        assert processes.find(place.wanted(cluster).server) == server
        monkeypatch.undo()
        done = await place.converge(restarting(place, cluster, 2))
        assert [change for change in done if isinstance(change, Restart)]

    labs(scenario)


def uri(cluster: Cluster, pool: str) -> str:
    port = writer_or_first(cluster).pool_port
    return f"postgres://doadmin:{records.PASSWORD}@127.0.0.1:{port}/{pool}?sslmode=require"


# -- The whole service


@contextlib.contextmanager
def hanging_pause(running: Service, client: Client, name: str) -> Iterator[tuple[str, str]]:
    """A PAUSE that waits for a client of a session pool; yields the cluster and the URI of another pool."""
    id = online_cluster(client, name)["id"]
    session = added_pool(client, id, "sessions", mode="session")["connection"]["uri"]
    other = added_pool(client, id, "transactions")["connection"]["uri"]
    changing = threading.Thread(target=change, args=(running, id))
    with psycopg.connect(session, connect_timeout=60) as connection:
        connection.execute("SELECT 1")
        changing.start()
        try:
            wait_until("the pooler is paused", 30, lambda: paused(running))
            yield id, other
        finally:
            changing.join()


def change(running: Service, id: str) -> None:
    """Change a setting that needs a restart; the service dies meanwhile."""
    config = {"config": {"max_prepared_transactions": 7}}
    with calling(running) as http, contextlib.suppress(httpx.HTTPError):
        http.patch(f"/v2/databases/{id}/config", json=config)


def paused(running: Service) -> bool:
    [paths] = Layout(running.data_dir).hosted()
    [socket] = [
        path for path in paths.sockets.glob(".s.PGSQL.*") if path.suffix != ".lock" and is_pooler(path)
    ]
    [state] = asyncio.run(sql.console(paths.sockets, int(socket.name.rpartition(".")[2]), "SHOW STATE"))
    return {"key": "paused", "value": "yes"} in state


def is_pooler(path: Path) -> bool:
    return not path.with_name(f"{path.name}.lock").exists()  # only PostgreSQL locks its socket


def kill_service(running: Service) -> None:
    """Kill the service with all processes of its session, at once."""
    session = os.getsid(running.pid)
    for pid in [*descendants(running.pid, session), running.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    running.end(signal.SIGKILL)


def descendants(parent: int, session: int) -> list[int]:
    found = []
    for pid in processes.children(parent):
        fields = processes.stat_fields(pid)
        if fields and int(fields[3]) == session:
            found += [pid, *descendants(pid, session)]
    return found


@pytest.mark.long
def test_pools_answer_soon_after_the_service_is_killed_while_a_pause_hangs(
    running: Service, client: Client
) -> None:
    with hanging_pause(running, client, "hanging") as (id, other):
        assert len(guards(running.data_dir)) == 1
        kill_service(running)
        # Nobody but the guard can end the pause; a login waits for that, at times longer than a client does.
        wait_until("the pool answers", 60, lambda: tried(other) == 42)
    wait_until("the guard has ended", 30, lambda: not guards(running.data_dir))
    assert not list(running.data_dir.glob("clusters/*/pgbouncer/pause.json"))
    running.start()
    with running.client() as again:
        online(again, id)
        assert answer_of(other, "SHOW max_prepared_transactions") == "7"
        again.request("DELETE", f"/v2/databases/{id}")
        wait_until("it is gone", 30, lambda: not Layout(running.data_dir).hosted())


@pytest.mark.long
def test_the_next_start_resumes_when_the_guard_was_killed_as_well(running: Service) -> None:
    with running.client() as client:
        with hanging_pause(running, client, "unguarded") as (id, other):
            kill_service(running)
            for guard in guards(running.data_dir):
                os.kill(guard, signal.SIGKILL)
            time.sleep(LEASE + 1)
            assert paused(running)
        running.start()
        with running.client() as again:
            online(again, id)
            assert answer_of(other, "SHOW max_prepared_transactions") == "7"
            assert not paused(running)
            again.request("DELETE", f"/v2/databases/{id}")
