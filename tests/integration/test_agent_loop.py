"""The loop over a node goes on: whatever fails in it, and however often the record changes."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cenote.model.timing import Timing
from cenote.stats.counters import PassResult
from tests.support.agent import SETTLE_SECONDS, Agents, AtWork, running, running_agents
from tests.support.waiting import wait_until_async


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    yield from running_agents(Timing(resync_interval=0.5, backoff_first=0.2, backoff_max=1))


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def left_alone(at: AtWork) -> None:
    known = at.passes.outcomes[PassResult.QUIET]
    await wait_until_async(
        "the node is left alone", SETTLE_SECONDS, lambda: at.passes.outcomes[PassResult.QUIET] > known
    )


def test_a_node_is_looked_after_again_after_a_time_without_descriptors(
    agents: Agents, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        server = running(at.server(cluster))
        with no_descriptor_left():
            await wait_until_async(
                "the agent has met it", SETTLE_SECONDS, lambda: f"{cluster.id}: Too many open" in caplog.text
            )
        os.kill(server.pid, signal.SIGKILL)
        await at.other_than(server, at.server(cluster))
        await at.settled(cluster)

    agents.run(scenario)


def test_changes_that_follow_one_another_do_not_put_off_the_look_at_everything(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        await left_alone(at)
        rules = at.lab.wanted(cluster).paths.data / "pg_hba.conf"
        good = rules.read_bytes()
        rules.write_bytes(b"# somebody was here\n" + good)
        changes = 0

        async def change_goes_on() -> bool:
            nonlocal changes
            changes += 1
            await at.change(cluster, tags=(f"change-{changes}",))
            return rules.read_bytes() == good

        await wait_until_async("the file is put right meanwhile", SETTLE_SECONDS, change_goes_on)

    agents.run(scenario)
