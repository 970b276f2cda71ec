"""Backups that are corrupted on purpose, ten ways, and ten that are not: what restore drills say of them.

Each way has a cluster of its own on one host, with real pgBackRest.  A drill has to name the check that finds
each way, and to find nothing in a good backup.
"""

from __future__ import annotations

import asyncio

from cenote.model.records import Cluster
from faults.outcome import Outcome
from tests.support import corruption
from tests.support.agent import AtWork, agent_at_work
from tests.support.waiting import wait_until_async

TIMES = 10  # good ones
COPIES_AT_ONCE = 4


def battery(good: int = TIMES) -> list[Outcome]:
    """Make all of them; ``answer`` are the seconds that a drill took."""
    return asyncio.run(_battery(good))


async def _battery(good: int) -> list[Outcome]:
    found = Outcome("restore drills of corrupted backups")
    fine = Outcome("restore drills of good backups")
    async with agent_at_work(corruption.TIMING, COPIES_AT_ONCE, keeps_backups=True) as agent:
        for name, (spoil, check) in corruption.WAYS.items():
            await _corrupted(agent, name, spoil, check, found)
        for _ in range(good):
            await _good(agent, fine)
    return [found, fine]


async def _corrupted(agent: AtWork, name: str, spoil: corruption.Way, check: str, outcome: Outcome) -> None:
    cluster = await corruption.prepared(agent)
    await spoil(agent, cluster)
    result = await corruption.drilled(agent, cluster)
    print(f"  {name}: {result.check or 'nothing'}: {result.failure}", flush=True)
    outcome.times += 1
    outcome.answer.append(result.seconds)
    if result.check != check:
        outcome.lost.append(f"{name}: found by {result.check or 'nothing'} instead of {check}")
    await _removed(agent, cluster, outcome)


async def _good(agent: AtWork, outcome: Outcome) -> None:
    cluster = await corruption.prepared(agent)
    await corruption.backed_up_again(agent, cluster)
    result = await corruption.drilled(agent, cluster)
    outcome.times += 1
    outcome.answer.append(result.seconds)
    if result.failure:
        outcome.lost.append(f"a good backup: {result.check}: {result.failure}")
    await _removed(agent, cluster, outcome)


async def _removed(agent: AtWork, cluster: Cluster, outcome: Outcome) -> None:
    await agent.remove(cluster)
    try:
        await wait_until_async("nothing is left", 60, lambda: agent.lab.remains(cluster) == [])
    except AssertionError:
        outcome.orphans += agent.lab.remains(cluster)
