"""What processors have done, for a real PostgreSQL and for the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from cenote.host.cpu import Efforts
from tests.support.agent import Agents, AtWork, ask, running, running_agents


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    yield from running_agents()


def test_a_query_that_works_is_seen_on_its_server_and_the_sessions_are_counted(agents: Agents) -> None:
    async def scenario(work: AtWork) -> None:
        cluster = await work.cluster()
        server = running(work.server(cluster)).pid
        before = Efforts().of(server)
        counting = "SELECT count(*) FROM generate_series(1, 3000000)"
        asking = asyncio.create_task(ask(cluster, counting))
        most = 0
        while not asking.done():
            most = max(most, Efforts().of(server).sessions)
            await asyncio.sleep(0.02)
        assert await asking == 3_000_000
        after = Efforts().of(server)
        assert after.server > before.server
        assert after.busy - before.busy >= after.server - before.server - 0.05  # it counts in ticks
        assert after.processors >= 1
        assert most >= 1

    agents.run(scenario)


def test_what_ended_sessions_have_used_stays_in_the_sum(agents: Agents) -> None:
    async def scenario(work: AtWork) -> None:
        cluster = await work.cluster()
        server = running(work.server(cluster)).pid
        await ask(cluster, "SELECT count(*) FROM generate_series(1, 2000000)", pool=None)
        ended = Efforts().of(server).server
        assert ended > 0
        assert Efforts().of(server).server >= ended

    agents.run(scenario)


def test_a_server_that_is_not_there_has_done_nothing() -> None:
    found = Efforts().of(None)
    assert (found.server, found.sessions) == (0, 0)
    assert found.busy > 0
