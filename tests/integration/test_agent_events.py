"""What the agent does by itself leaves events, once it has led to something."""

from __future__ import annotations

import os
import signal

from cenote.host import processes
from cenote.model.records import Cluster, EventType
from tests.support.agent import Agents, AtWork
from tests.support.waiting import wait_until_async


def remembered(work: AtWork, cluster: Cluster) -> list[tuple[str, EventType | None]]:
    return [(event.note.what, event.note.type) for event in work.store.events(cluster.id)]


def test_a_new_cluster_leaves_no_event_of_its_first_start(agents: Agents) -> None:
    async def scenario(work: AtWork) -> None:
        cluster = await work.cluster()
        assert remembered(work, cluster) == []

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

            def told(expected: tuple[str, EventType | None] = expected) -> bool:
                return expected in remembered(work, cluster)

            await wait_until_async(f"it is noted that it {expected[0]}", 30, told)
            assert remembered(work, cluster).count(expected) == 1

    agents.run(scenario)
