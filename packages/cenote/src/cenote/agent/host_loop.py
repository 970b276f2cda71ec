"""The agent of a host: a ``node_loop`` for each of its nodes, and what they share.

A change of a cluster's record wakes the loop of its node.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Set
from uuid import UUID

import msgspec

from cenote.agent.archive_marks import ArchiveMarks
from cenote.agent.host_ring import HostRing
from cenote.agent.log_shipping import LogShipping
from cenote.agent.log_space import watch_log_space
from cenote.agent.node_loop import NodeLoop
from cenote.agent.pass_queue import PassQueue
from cenote.agent.rehearsal_runner import RehearsalRunner
from cenote.agent.restore_runner import RestoreRunner
from cenote.agent.spare_templates import maintain_spares
from cenote.agent.sweep import Sweep
from cenote.agent.waiting import is_set_within
from cenote.engine.plan.context import HostContext
from cenote.errors import Misconfigured, Unavailable
from cenote.host import processes, system
from cenote.host.executor import Executor
from cenote.model.fleet_records import Host, ServiceCopy
from cenote.model.records import Cluster
from cenote.stats.counters import Passes
from cenote.store.encoding import NewerFormat
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)

COPIES_AT_ONCE = 4  # of templates
MOST_UNKNOWN = 1000  # nodes that are named in the host's record


class HostLoop:
    """Runs the nodes of one host, and announces the host in the store."""

    def __init__(
        self,
        store: HostStore,
        executor: Executor,
        context: HostContext,
        host: Host,
        log_shipping: LogShipping | None = None,
        copies_at_once: int = COPIES_AT_ONCE,
        ring: HostRing | None = None,
        store_id: UUID | None = None,
        service_copy: Callable[[], ServiceCopy | None] = lambda: None,
        repository_problem: Callable[[], str] = lambda: "",
        repository_id: Callable[[], str] = lambda: "",
    ) -> None:
        """``store_id`` is that of the store that the data directory belongs to.

        ``service_copy`` says how the automatic backup of the service fares here, ``repository_problem`` why
        the repository for backups of clusters cannot be used, ``repository_id`` which one it is, once that is
        known.
        """
        self._repository_id = repository_id
        self._service_copy, self._repository_problem = service_copy, repository_problem
        self._store, self._executor, self._context, self._host = store, executor, context, host
        self.passes = Passes()
        self.judged = asyncio.Event()  # the store has taken the host's record, or refused it
        self.refusal: Misconfigured | None = None
        self._log_shipping, self._ring = log_shipping, ring
        self._node_loops: dict[tuple[UUID, str], NodeLoop] = {}
        self._copying = asyncio.Semaphore(copies_at_once)
        self._queue = PassQueue()
        self._in_use = system.connected_ports()
        self._due = asyncio.Event() if ring is None else ring.changed  # an announcement
        self._sweep = Sweep(
            store, executor, context, self._is_worked_on, self._due.set, self._compare, store_id
        )

    async def run(self) -> None:
        """Run until cancelled; the servers keep running afterwards."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._announce(), name="announcing this host")
                group.create_task(maintain_spares(self._executor, self._host.versions), name="templates")
                group.create_task(self._follow(), name="following the records")
                group.create_task(self._reap(), name="reaping")
                group.create_task(
                    RestoreRunner(self._store, self._executor, self._context).run(), name="restores"
                )
                group.create_task(RehearsalRunner(self._store, self._context).run(), name="rehearsals")
                group.create_task(ArchiveMarks(self._store, self._context).run(), name="marks in archives")
                group.create_task(self._sweep.run(), name="sweeping")
                group.create_task(
                    watch_log_space(self._store, self._executor, self._context), name="space of logs"
                )
        finally:
            if self._log_shipping is not None:
                await self._log_shipping.stop()
            await asyncio.gather(*(node_loop.stop() for node_loop in self._node_loops.values()))

    async def look_again(self, cluster_id: UUID) -> None:
        """Look at the cluster's nodes here, and return when that has been reported."""
        await asyncio.gather(*(loop.look_again() for loop in self._loops_of(cluster_id) if not loop.finished))

    async def _follow(self) -> None:
        with self._store.changes() as changes:
            async for cluster_id in changes:
                try:
                    self._wake_node(cluster_id)
                except Exception:  # one cluster's record must not end the work on all others
                    log.exception("cluster %s: a defect in Cenote", cluster_id)

    async def _reap(self) -> None:
        """Reap by polling, since uvloop takes SIGCHLD for itself."""
        while True:
            await asyncio.sleep(self._context.timing.reap_interval)
            processes.reap()

    async def _announce(self) -> None:
        timing = self._context.timing
        while True:
            pause = timing.announce_interval
            self._due.clear()
            try:
                if not await self._store.announce(self._host_now(), stalled=self._stalled()):
                    pause = timing.announce_interval_unseen
                self.refusal = None
                self.judged.set()
            except Unavailable:
                pass  # the announcement lasts as long as its lease
            except Misconfigured as error:  # a copy of the data directory serves, or the host was removed
                if str(error) != str(self.refusal):
                    log.error("%s", error)
                self.refusal = error
                self.judged.set()
            except OSError as error:  # such as EMFILE, no descriptor left
                log.warning("cannot read which ports are in use: %s", error)
            # Changed keys make the next one due, since a rotation waits for it, and so does what is unknown.
            await is_set_within(self._due, pause)

    def _host_now(self) -> Host:
        claimed = self._store.ports(self._host.id)
        busy = [
            port
            for port in sorted(system.listening_ports() - claimed)
            if self._host.first_port <= port <= self._host.last_port
        ]
        keys = () if self._ring is None else self._ring.ids
        unknown = self._sweep.unknown[:MOST_UNKNOWN]
        return msgspec.structs.replace(
            self._host,
            busy_ports=tuple(busy),
            host_keys=keys,
            unknown=unknown,
            service_copy=self._service_copy(),
            repository_problem=self._repository_problem(),
            repository_id=self._repository_id() or self._store.repository_id(self._host),
        )

    def _stalled(self) -> list[str]:
        """Return the nodes whose pass has not ended for long."""
        limit = self._context.timing.stall_time
        return [loop.label for loop in self._node_loops.values() if loop.busy_for() > limit]

    def _wake_node(self, cluster_id: UUID) -> None:
        try:
            stored = self._store.cluster(cluster_id)
        except NewerFormat as error:
            log.error("cluster %s is left as it is: %s", cluster_id, error)
            for node_name in self._store.reported_nodes(cluster_id):  # its loop reports that in words
                self._loop_of(cluster_id, node_name).notice()
            return
        if self._log_shipping is not None:
            self._log_shipping.wake(cluster_id)
        for node_loop in self._loops_of(cluster_id):
            if node_loop.finished:
                del self._node_loops[cluster_id, node_loop.node_name]
        wanted = () if stored is None else self._nodes_here(stored.value)
        leaving = [loop for loop in self._loops_of(cluster_id) if loop.node_name not in wanted]
        for node_loop in leaving:
            node_loop.notice()  # it ends by itself, and the cluster is looked at again
        for name in wanted:
            if not leaving or (cluster_id, name) in self._node_loops:
                self._loop_of(cluster_id, name).notice()
        if not wanted and os.path.lexists(self._context.layout.cluster(cluster_id).root):
            self._sweep.wake(cluster_id)

    def _nodes_here(self, cluster: Cluster) -> tuple[str, ...]:
        """Return the names of the cluster's nodes that there are to be loops for.

        Of a cluster that moves, one that is to be removed is so before another one is made here.
        """
        left = [node.name for node in cluster.left if node.host == self._host.id]
        nodes = [node.name for node in cluster.nodes if node.host == self._host.id]
        one_by_one = len(cluster.nodes) == 1 or cluster.move is not None
        if one_by_one and cluster.deleted_at is None:
            return tuple([*left, *nodes][:1])
        return tuple(dict.fromkeys([*left, *nodes]))

    def _loops_of(self, cluster_id: UUID) -> list[NodeLoop]:
        return [loop for (id, _), loop in self._node_loops.items() if id == cluster_id]

    def _compare(self, in_trash: Set[UUID]) -> None:
        """Have a loop look whose data is not in the trash any more, as it has last seen it there."""
        for (id, _), node_loop in self._node_loops.items():
            if node_loop.is_put_away and id not in in_trash:
                node_loop.notice()

    def _is_worked_on(self, cluster_id: UUID) -> bool:
        """Return whether a loop works on a node of the cluster."""
        return any(not node_loop.finished for node_loop in self._loops_of(cluster_id))

    def _loop_of(self, cluster_id: UUID, node_name: str) -> NodeLoop:
        node_loop = self._node_loops.get((cluster_id, node_name))
        if node_loop is None or node_loop.finished:
            node_loop = self._node_loops[cluster_id, node_name] = NodeLoop(
                self._store,
                self._executor,
                self._context,
                cluster_id,
                node_name,
                self._copying,
                self.passes,
                self._queue,
                self._in_use,
                on_end=lambda: self._store.notify([cluster_id]),
            )
        return node_loop
