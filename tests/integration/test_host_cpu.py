"""CPU times of the machine and of a real PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess

from cenote.host.cpu import CpuUsage, ProcessTable
from tests.support.agent import Agents, AtWork, ask, running
from tests.support.waiting import wait_until_async


def test_a_running_query_adds_to_the_cpu_time_of_its_server_and_sessions_are_counted(agents: Agents) -> None:
    async def scenario(work: AtWork) -> None:
        cluster = await work.cluster()
        server = running(work.server(cluster)).pid
        before = CpuUsage().read(server)
        counting = "SELECT count(*) FROM generate_series(1, 3000000)"
        asking = asyncio.create_task(ask(cluster, counting))
        most = 0
        while not asking.done():
            most = max(most, CpuUsage().read(server).sessions)
            await asyncio.sleep(0.02)
        assert await asking == 3_000_000
        after = CpuUsage().read(server)
        assert after.server > before.server
        assert after.busy - before.busy >= after.server - before.server - 0.05  # it counts in ticks
        assert after.processors >= 1
        assert most >= 1

    agents.run(scenario)


def test_the_cpu_time_of_ended_sessions_stays_in_the_sum(agents: Agents) -> None:
    async def scenario(work: AtWork) -> None:
        cluster = await work.cluster()
        server = running(work.server(cluster)).pid
        await ask(cluster, "SELECT count(*) FROM generate_series(1, 2000000)", pool=None)
        ended = CpuUsage().read(server).server
        assert ended > 0
        # Between its end and the moment when the server hears of it, a session is in neither sum.
        await wait_until_async("it is in the sum", 30, lambda: CpuUsage().read(server).server >= ended)

    agents.run(scenario)


def test_without_a_server_the_times_of_the_machine_are_read() -> None:
    found = CpuUsage().read(None)
    assert (found.server, found.sessions) == (0, 0)
    assert found.busy > 0


def test_a_scan_finds_the_children_of_a_process() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert child.pid in ProcessTable().children(os.getpid())
        finally:
            child.kill()


def test_scanning_all_processes_takes_at_most_a_tenth_of_the_time() -> None:
    seconds = itertools.count()  # each look at the clock is a second later, so a scan takes a second
    table = ProcessTable(clock=lambda: next(seconds))
    calls = 200
    for _ in range(calls):
        table.children(os.getpid())
    passed = next(seconds)
    scans = passed - calls  # the clock is read once for a call, and once more for a scan
    assert 2 <= scans <= passed / 10
