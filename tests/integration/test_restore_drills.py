"""Restore drills by the agent: real pgBackRest, real PostgreSQL; ``faults/drills.py`` has all the ways."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from cenote.host import processes
from cenote.model.records import Cluster
from tests.support import corruption
from tests.support.agent import Agents, AtWork, running_agents
from tests.support.pgbackrest import NEEDS_PGBACKREST
from tests.support.waiting import wait_until_async

SECONDS = 300
pytestmark = NEEDS_PGBACKREST


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    yield from running_agents(corruption.TIMING, keeps_backups=True)


def test_a_drill_of_a_good_backup_finds_nothing_and_leaves_nothing(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        cluster = await corruption.prepared(agent)
        server = processes.find(agent.server(cluster))
        result = await corruption.drilled(agent, cluster)
        assert (result.check, result.failure) == ("", "")
        assert result.label == corruption.report(agent, cluster).backups[-1].label
        assert result.started_at <= result.ended_at
        paths = agent.lab.wanted(cluster).cluster_paths
        assert not paths.drill.exists()
        assert not paths.drill_sockets.exists()
        assert processes.find(agent.server(cluster)) == server
        assert corruption.report(agent, cluster).drilling == ""

    agents.run(scenario)


@pytest.mark.parametrize("way", ["heap page"])
def test_a_drill_finds_a_backup_that_was_corrupted(agents: Agents, way: str) -> None:
    async def scenario(agent: AtWork) -> None:
        spoil, check = corruption.WAYS[way]
        cluster = await corruption.prepared(agent)
        await spoil(agent, cluster)
        result = await corruption.drilled(agent, cluster)
        assert result.failure != ""
        assert result.check == check, result.failure
        assert not agent.lab.wanted(cluster).cluster_paths.drill.exists()

    agents.run(scenario)


def test_a_drill_that_is_killed_leaves_nothing_and_is_made_again(agents: Agents) -> None:
    async def scenario(agent: AtWork) -> None:
        cluster = await corruption.prepared(agent)
        paths = agent.lab.wanted(cluster).cluster_paths
        drilling = asyncio.create_task(_drilled_after_kills(agent, cluster))
        await wait_until_async("it has begun", SECONDS, lambda: bool(processes.below(paths.drill)))
        for process in processes.below(paths.drill):
            os.kill(process.pid, signal.SIGKILL)
        await wait_until_async(
            "it is told", SECONDS, lambda: corruption.report(agent, cluster).undrilled != ""
        )
        await drilling
        assert not paths.drill.exists()

    async def _drilled_after_kills(agent: AtWork, cluster: Cluster) -> None:
        asked = await corruption.ask(agent, cluster, "drill_asked_at")

        def is_made() -> bool:
            drill = corruption.report(agent, cluster).drill
            return drill is not None and drill.started_at >= asked and drill.failure == ""

        await wait_until_async("it is made again", SECONDS, is_made)

    agents.run(scenario)
