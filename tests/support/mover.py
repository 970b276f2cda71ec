"""Moves a one-node cluster by writing the stages into its record, as the controller would.

Meanwhile no controller does: one of the test's stands in, which does all but moves.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from cenote.controller.controller import Controller
from cenote.model.paths import Layout
from cenote.model.records import Cluster, Move, MoveStage, Node
from cenote.model.status_records import NodeStatus
from cenote.security.sealing import Sealer
from cenote.store import Store, etcd_messages
from cenote.store.encoding import encode
from tests.support.fleet import Fleet
from tests.support.waiting import wait_until_async


@contextlib.asynccontextmanager
async def mover(hosts: Fleet, cluster_id: str) -> AsyncIterator[Mover]:
    """A mover of one cluster, with a store of its own on the fleet's etcd."""
    assert hosts.outside is not None
    client = hosts.outside.client()
    store = Store(client)
    try:
        await store.open()
        sealer = Sealer(Layout(hosts.hosts[0].data_dir).api_sealing_key)
        async with standing_in(Controller(store, sealer, "test", "")):
            yield Mover(store, UUID(cluster_id))
    finally:
        await store.close()
        await client.close()


@contextlib.asynccontextmanager
async def standing_in(controller: Controller) -> AsyncIterator[None]:
    """Have a controller take the place of the one that is elected, and leave moves alone."""
    election = controller._election
    election._is_predecessor = lambda _value: True  # type: ignore[assignment, method-assign]
    controller._mover.run = asyncio.Event().wait  # type: ignore[assignment, method-assign]
    task = asyncio.create_task(controller.run())
    try:
        await wait_until_async("it is elected", 10, lambda: election.is_elected)
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Mover:
    def __init__(self, store: Store, cluster_id: UUID) -> None:
        self.store, self._id = store, cluster_id
        self.written_at: dict[MoveStage, float] = {}  # of the last time (monotonic)

    @property
    def cluster(self) -> Cluster:
        stored = self.store.cluster(self._id)
        assert stored is not None
        return stored.value

    @property
    def revision(self) -> int:
        stored = self.store.cluster(self._id)
        assert stored is not None
        return stored.revision

    @property
    def move(self) -> Move:
        assert self.cluster.move is not None
        return self.cluster.move

    def report(self, node: str) -> NodeStatus:
        found = self.store.reports(self._id).get(node)
        return found or NodeStatus(reached=0, at=datetime.now(UTC))

    async def begin(self, host: str, first_port: int) -> None:
        """Have the cluster copied to the host of this name."""
        target = next(one for one in self.store.known_hosts() if one.name == host)
        source = self.cluster.nodes[0]
        node = Node(
            name=f"node-{int(source.name.rpartition('-')[2]) + 1}",
            host=target.id,
            port=first_port,
            pool_port=first_port + 1,
        )
        move = Move(source=source.name, target=node.name, asked_at=datetime.now(UTC))
        await self._change(lambda before: replace(before, nodes=(source, node), move=move))

    async def stage(self, stage: MoveStage) -> None:
        move = replace(self.move, stage=stage, since=datetime.now(UTC))
        await self._change(lambda before: replace(before, move=move))
        self.written_at[stage] = time.monotonic()

    async def copied(self, seconds: float = 60) -> None:
        """Wait until the target streams and the source is as wanted."""

        def ready() -> bool:
            target, source = self.report(self.move.target), self.report(self.move.source)
            if min(target.tried, source.reached) < self.revision or target.standby is None:
                return False
            return target.standby.streaming

        await self._until("the target streams", seconds, ready)

    async def ended(self, seconds: float = 20) -> None:
        """Wait until the source has ended and the target has all of it."""

        def ready() -> bool:
            source, target = self.report(self.move.source), self.report(self.move.target)
            if source.tried < self.revision or not source.ended_at or target.standby is None:
                return False
            return target.standby.replayed >= source.ended_at

        await self._until("the source has ended", seconds, ready)

    async def leads(self, seconds: float = 30) -> None:
        """Wait until the target is as wanted."""
        target = self.move.target
        await self._until("the target leads", seconds, lambda: self.report(target).reached >= self.revision)

    async def led_on(self, clients: int = 0, seconds: float = 30) -> None:
        """Wait until the source leads no more than so many clients to the target."""
        source = self.move.source

        def ready() -> bool:
            report = self.report(source)
            return report.tried >= self.revision and "led to the node" in report.reason

        await self._until("the source leads its clients on", seconds, ready)
        await self._until("they leave", seconds, lambda: self.report(source).clients <= clients)

    async def finish(self, seconds: float = 30) -> None:
        """Have the source removed, and wait until it is."""
        [source] = [node for node in self.cluster.nodes if node.name == self.move.source]
        rest = tuple(node for node in self.cluster.nodes if node != source)
        await self._change(lambda before: replace(before, nodes=rest, move=None, left=(source,)))
        await self._until("the source is removed", seconds, lambda: self.report(source.name).removed)
        await self._change(lambda before: replace(before, left=()))

    async def give_up(self, seconds: float = 30) -> None:
        """Have the target removed, and wait until it is."""
        [target] = [node for node in self.cluster.nodes if node.name == self.move.target]
        rest = tuple(node for node in self.cluster.nodes if node != target)
        await self._change(lambda before: replace(before, nodes=rest, move=None, left=(target,)))
        await self._until("the target is removed", seconds, lambda: self.report(target.name).removed)
        await self._change(lambda before: replace(before, left=()))

    async def change(self, **fields: Any) -> None:
        """Change the record as a customer's request does."""
        await self._change(lambda before: replace(before, **fields))

    async def recover(self, cluster: Cluster) -> None:
        """Have the record be what it was at another time, as in a copy of the store of then."""
        put = etcd_messages.put(self.store._keys.cluster(self._id), encode(cluster))
        await self.store._cache.seen((await self.store._writer.write([], [put])).revision)

    async def settled(self, node: str, seconds: float = 30) -> None:
        await self._until("all is in force", seconds, lambda: self.report(node).reached >= self.revision)

    async def switch(self) -> None:
        """From a target that follows to one that leads."""
        await self.stage(MoveStage.SWITCHING)
        await self.ended()
        await self.stage(MoveStage.LEAVING)
        await self.leads()

    async def _change(self, change: Callable[[Cluster], Cluster]) -> None:
        await self.store.update_cluster(self._id, change)

    async def _until(self, what: str, seconds: float, ready: Callable[[], bool]) -> None:
        try:
            await wait_until_async(what, seconds, ready)
        except AssertionError as error:
            reports = {name: self.report(name) for name in self._names()}
            raise AssertionError(f"{error}; the reports: {reports}") from None

    def _names(self) -> list[str]:
        return [node.name for node in (*self.cluster.nodes, *self.cluster.left)]
