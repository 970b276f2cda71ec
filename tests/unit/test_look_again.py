"""Whoever waits until a node was looked at again."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from types import SimpleNamespace
from typing import Any, cast

from cenote.agent.node_loop import NodeLoop
from cenote.agent.pass_queue import PassQueue
from cenote.model.records import Cluster
from cenote.stats.counters import Passes, PassResult
from cenote.store.tables import Stored
from tests.support.wanted import CLUSTER, SITE


class OneByOne(NodeLoop):
    """A loop whose passes a test makes; they do nothing, and are put off as ``put_off`` says."""

    put_off = False

    async def _run(self, _in_use: Container[int]) -> None:
        return

    def _put_off_for(self, _cluster: Cluster) -> float | None:
        return 0.5 if self.put_off else None

    async def _attempt(self, _stored: Stored[Cluster], *, full: bool) -> tuple[float, PassResult]:
        assert full
        return 1.0, PassResult.DONE


def test_a_pass_that_is_put_off_ends_no_wait_for_it() -> None:
    async def scenario() -> None:
        stored = Stored(CLUSTER, 1)
        store = SimpleNamespace(cluster=lambda _id: stored, host_id=CLUSTER.nodes[0].host)
        loop = OneByOne(
            *(cast(Any, store), cast(Any, None), SITE, CLUSTER.id, CLUSTER.nodes[0].name),
            *(asyncio.Semaphore(), Passes(), PassQueue(1)),
        )
        looked = asyncio.create_task(loop.look_again())
        await asyncio.sleep(0)
        loop.put_off = True
        assert await loop._next_pass() == (0.5, PassResult.WAITING)
        await asyncio.sleep(0)
        assert not looked.done()
        another = asyncio.create_task(loop.look_again())
        await asyncio.sleep(0)
        loop.put_off = False
        assert await loop._next_pass() == (1.0, PassResult.DONE)
        await asyncio.gather(looked, another)

    asyncio.run(asyncio.wait_for(scenario(), 30))
