"""What stands in the agent's way becomes a reason that can be read, holds up nobody else, and heals."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from msgspec.structs import replace

from cenote.agent.node_pass import NodePass
from cenote.errors import CenoteError
from cenote.host import sql
from cenote.model.records import Cluster, Pool
from cenote.model.timing import Timing
from cenote.model.topology import writer_or_first
from tests.support import records
from tests.support.agent import POOL, Agents, AtWork, answers, ask, running, running_agents
from tests.support.waiting import wait_until_async

FILL_LOG: LiteralString = (
    "SELECT count(pg_logical_emit_message(false, '', repeat('x', 1000000))) FROM generate_series(1, 60)"
)
LOCKED = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'cenote'"
)


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    yield from running_agents(Timing(backoff_max=1), copies_at_once=1)


@asynccontextmanager
async def small_disk(at: AtWork, mib: int) -> AsyncIterator[Path]:
    """A disk of this size below the clusters; those that are put on it are removed at the end."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = at.lab.layout.clusters
    folder.mkdir(exist_ok=True)
    mounted = resized(folder, mib, "")
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        for stored in at.store.clusters():
            if at.lab.layout.cluster(stored.value.id).root.exists():
                await at.remove(stored.value)
        unmount(folder)


def fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(2**20))


def unmount(folder: Path) -> None:
    subprocess.run(["umount", folder], check=True)


def resized(folder: Path, mib: int, how: str = "remount,") -> subprocess.CompletedProcess[str]:
    options = f"{how}size={mib}m,mode=711"
    command = ["mount", "-t", "tmpfs", "-o", options, "cenote-test", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_cluster_for_which_there_is_no_room_says_so_and_is_made_once_there_is(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        async with small_disk(at, 12) as disk:
            cluster = replace(at.lab.new_cluster(), pools=(POOL,))
            await at.store.add_cluster(cluster)
            status = await at.reason(cluster, "No space left on device")
            assert status.failing
            assert status.reached == 0
            assert "template" in status.reason
            resized(disk, 300)
            await at.settled(cluster)
            assert await answers(cluster)

    agents.run(scenario)


def test_a_server_that_filled_its_disk_says_so_and_is_back_once_there_is_room(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        async with small_disk(at, 80) as disk:
            cluster = await at.cluster()
            await ask(cluster, "CREATE TABLE kept AS SELECT 42 AS value", pool=None)
            fill(disk)
            with pytest.raises(psycopg.OperationalError):
                await ask(cluster, FILL_LOG, pool=None)
            status = await at.reason(cluster, "the disk is full")
            assert status.failing
            assert status.reason.startswith("PostgreSQL does not start")
            resized(disk, 400)
            await at.settled(cluster)
            await wait_until_async("the pool answers", 30, lambda: answers(cluster))
            assert await ask(cluster, "SELECT value FROM kept") == 42

    agents.run(scenario)


def test_a_folder_that_cannot_be_made_is_named_and_made_once_it_can_be(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = replace(at.lab.new_cluster(), pools=(POOL,))
        in_the_way = at.lab.layout.cluster(cluster.id).root
        in_the_way.parent.mkdir(exist_ok=True)
        in_the_way.write_text("a file where the folder should be")
        await at.store.add_cluster(cluster)
        status = await at.reason(cluster, str(in_the_way))
        assert status.failing
        assert "Errno" not in status.reason
        in_the_way.unlink()
        await at.settled(cluster)

    agents.run(scenario)


def test_data_that_is_missing_is_a_reason_and_not_made_anew(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        await ask(cluster, "CREATE TABLE kept AS SELECT 42 AS value", pool=None)
        data = at.lab.wanted(cluster).paths.data
        away = data.with_name("away")
        server = running(at.server(cluster))
        data.rename(away)
        os.kill(server.pid, signal.SIGKILL)
        status = await at.reason(cluster, "its data directory is missing")
        assert (status.failing, status.stopped) == (True, ("PostgreSQL",))
        # Not even a change of the record, or an agent that has only just started, makes another.
        await at.change(cluster, tags=("changed",))
        another = NodePass(at.lab.executor, asyncio.Semaphore(1))
        wanted = dataclasses.replace(at.lab.wanted(cluster), was_online=True)
        session = at.lab.session(cluster)
        with pytest.raises(CenoteError, match="its data directory is missing"):
            await another.run(wanted, session)
        await session.close()
        assert not data.exists()
        away.rename(data)
        await at.settled(cluster)
        assert await ask(cluster, "SELECT value FROM kept") == 42
        assert at.status(cluster).stopped == ()

    agents.run(scenario)


def test_data_that_the_server_cannot_enter_is_a_reason_and_no_loop_of_starts(
    agents: Agents, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        data = at.lab.wanted(cluster).paths.data
        log = at.server(cluster).log
        before = log.read_text().count("starting PostgreSQL")
        data.chmod(0)
        try:
            caplog.clear()
            with caplog.at_level(logging.INFO, logger="cenote.node"):
                os.kill(server_pid(at, cluster), 9)
                status = await at.reason(cluster, "PostgreSQL does not start")
                assert status.failing
                assert "ermission" in status.reason
                await wait_until_async(
                    "it was tried three times", 60, lambda: said(caplog).count("told") >= 3
                )
            # Each start that came to nothing is told of, and then there is a pause before the next.
            assert "started started" not in " ".join(said(caplog))
        finally:
            data.chmod(0o700)
        await at.settled(cluster)
        assert await answers(cluster)
        assert log.read_text().count("starting PostgreSQL") > before

    agents.run(scenario)


def server_pid(at: AtWork, cluster: Cluster) -> int:
    return int(at.server(cluster).pid_file.read_text().split()[0])


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The agent's log on PostgreSQL in short: each start, and each time that it tells of one in vain."""
    found = []
    for message in caplog.messages:
        if "does not start" in message:
            found.append("told")
        elif "Start(program=Program(name='PostgreSQL')" in message:
            found.append("started")
    return found


@asynccontextmanager
async def table_in_use(at: AtWork) -> AsyncIterator[Cluster]:
    """A cluster with a user whose table somebody is reading, in a transaction without an end."""
    plain = await at.cluster()
    cluster = await at.settled(await at.change(plain, users=(*plain.users, records.user("app"))))
    await ask(cluster, "GRANT CREATE ON SCHEMA public TO app", pool=None)
    await ask(cluster, "CREATE TABLE busy AS SELECT 42 AS value", user="app", pool=None)
    async with await psycopg.AsyncConnection.connect(
        host="localhost",
        port=writer_or_first(cluster).port,
        dbname="defaultdb",
        user="doadmin",
        password=records.PASSWORD,
        sslmode="require",
    ) as reader:
        await reader.execute("SELECT pg_advisory_lock(1)")
        await reader.execute("GRANT app TO doadmin")
        await reader.execute("LOCK TABLE busy")
        yield cluster


def test_a_lock_that_a_session_holds_is_named_and_the_pools_are_served_meanwhile(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        async with table_in_use(at) as cluster:
            second = Pool(name="second", database="defaultdb", size=1, user="doadmin")
            await at.change(cluster, users=cluster.users[:1], pools=(POOL, second))
            status = await at.reason(cluster, "lock timeout")
            assert "user app" in status.reason
            await wait_until_async("the new pool answers", 30, lambda: answers(cluster, pool="second"))
            os.kill(int(at.bouncer(cluster).pid_file.read_text()), 9)
            await wait_until_async("the new pool answers", 30, lambda: answers(cluster, pool="second"))
        await at.settled(cluster)
        assert await at.lab.rows(cluster, "SELECT 1 FROM pg_roles WHERE rolname = 'app'") == []

    agents.run(scenario)


def test_a_cluster_whose_sql_takes_long_holds_up_no_other(
    agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "_OPTIONS", "-c statement_timeout=600s")

    async def scenario(at: AtWork) -> None:
        async with table_in_use(at) as slow:
            await at.change(slow, users=slow.users[:1])
            await wait_until_async("the agent waits for the lock", 30, lambda: is_waiting(at, slow))
            other = await at.cluster()
            assert await answers(other)
            await at.remove(other)
            assert await is_waiting(at, slow)
        await at.settled(slow)

    async def is_waiting(at: AtWork, cluster: Cluster) -> bool:
        return await at.lab.rows(cluster, LOCKED) == [(1,)]

    agents.run(scenario)
