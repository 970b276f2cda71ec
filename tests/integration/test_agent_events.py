"""What the agent does by itself leaves events, once it has led to something."""

from __future__ import annotations

import asyncio
import os
import signal

from cenote.host import processes
from cenote.model.event_records import EventType
from cenote.model.records import Cluster
from tests.support.agent import Agents, AtWork


async def remembered(work: AtWork, cluster: Cluster) -> list[tuple[str, EventType | None]]:
    return [(event.note.what, event.note.type) for event in await work.store.events(cluster.id)]


def test_a_new_cluster_leaves_no_event_of_its_first_start(agents: Agents) -> None:
    async def scenario(work: AtWork) -> None:
        cluster = await work.cluster()
        assert await remembered(work, cluster) == []

    agents.run(scenario)


def test_a_killed_server_leaves_one_event_of_its_new_start(agents: Agents) -> None:
    async def scenario(work: AtWork) -> None:
        cluster = await work.cluster()
        wanted = work.lab.wanted(cluster)
        for program, expected in (
            (wanted.server, ("started PostgreSQL", EventType.CLUSTER_POWERON)),
            (wanted.bouncer, ("started PgBouncer", None)),
        ):
            process = processes.find(program)
            assert process is not None
            os.kill(process.pid, signal.SIGKILL)

            while expected not in await remembered(work, cluster):
                await asyncio.sleep(0.05)
            assert (await remembered(work, cluster)).count(expected) == 1

    agents.run(scenario)
