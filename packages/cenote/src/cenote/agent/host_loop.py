"""The loops of one host: one for each of its nodes, and what they all need.

A change of a record wakes the loop of its node (``node_loop``).
"""

from __future__ import annotations

import asyncio
import logging
from uuid import UUID

import msgspec

from cenote.agent.log_shipping import LogShipping
from cenote.agent.node_loop import NodeLoop
from cenote.agent.spare_templates import keep_stock
from cenote.engine.plan.context import HostContext
from cenote.errors import Unavailable
from cenote.host import processes, system
from cenote.host.executor import Executor
from cenote.model.records import Host
from cenote.stats.counters import Passes
from cenote.store.store import Store

log = logging.getLogger(__name__)

REAP_EVERY = 0.5  # seconds
ANNOUNCE_EVERY = 10.0  # seconds
AT_ONCE = 4  # templates that are copied at the same time


class HostLoop:
    """Runs the nodes of one host, and announces that it is there."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        context: HostContext,
        host: Host,
        shipping: LogShipping | None = None,
    ) -> None:
        self._store, self._executor, self._context, self._host = store, executor, context, host
        self.passes = Passes()
        self.announced = asyncio.Event()  # set once this process has written the host's record
        self._shipping = shipping
        self._tasks: dict[UUID, NodeLoop] = {}
        self._copying = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Work until cancelled.  The servers go on when this ends."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._announce(), name="announcing this host")
                group.create_task(keep_stock(self._executor, self._host.versions), name="templates")
                group.create_task(self._follow(), name="following the records")
                group.create_task(self._reap(), name="reaping")
        finally:
            if self._shipping is not None:
                await self._shipping.stop()
            await asyncio.gather(*(task.stop() for task in self._tasks.values()))

    async def _follow(self) -> None:
        with self._store.changes() as changes:
            async for cluster_id in changes:
                self._wake(cluster_id)

    async def _reap(self) -> None:
        """Collect what has ended; uvloop keeps the signal that would tell of it for itself."""
        while True:
            await asyncio.sleep(REAP_EVERY)
            processes.reap()

    async def _announce(self) -> None:
        while True:
            try:
                await self._store.announce_host(self._host_now())
                self.announced.set()
            except Unavailable:
                pass  # what was announced stays as long as its lease is kept
            except OSError as error:  # such as no file descriptor being left
                log.warning("cannot look which ports are in use: %s", error)
            await asyncio.sleep(ANNOUNCE_EVERY)

    def _host_now(self) -> Host:
        claimed = self._store.ports(self._host.name)
        busy = [
            port
            for port in sorted(system.listening_ports() - claimed)
            if self._host.first_port <= port <= self._host.last_port
        ]
        return msgspec.structs.replace(self._host, busy_ports=tuple(busy))

    def _wake(self, cluster_id: UUID) -> None:
        stored = self._store.cluster(cluster_id)
        if self._shipping is not None:
            self._shipping.wake(cluster_id)
        task = self._tasks.get(cluster_id)
        if stored is None:
            if task is not None and task.finished:
                del self._tasks[cluster_id]
            return
        node = next((node for node in stored.value.nodes if node.host == self._host.name), None)
        if node is None:
            return
        if task is None or task.finished:
            task = self._tasks[cluster_id] = NodeLoop(
                self._store, self._executor, self._context, cluster_id, node.name, self._copying, self.passes
            )
        task.wake.set()
