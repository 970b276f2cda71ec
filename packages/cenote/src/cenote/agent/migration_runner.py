"""The online migrations of this host: each into the node that takes writes, in a task of its own.

What is wanted stands in the record, how far it is on the server of the cluster and on the source.  So an
agent that is killed goes on where the next one begins, also on another host after a failover.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from uuid import UUID

from cenote.agent.migration_work import MigrationWork
from cenote.engine.plan.context import HostContext, NodeContext, NodeKind
from cenote.host.executor import Executor
from cenote.model.records import Cluster
from cenote.rules import online_migrations
from cenote.security.sealing import Sealer
from cenote.store.encoding import NewerFormat
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0


class MigrationRunner:
    """Makes the online migrations of one host."""

    def __init__(
        self,
        store: HostStore,
        context: HostContext,
        executor: Executor,
        sealer: Sealer,
        look_again: Callable[[UUID], Awaitable[None]],
    ) -> None:
        """``look_again`` has the nodes of a cluster looked at, and returns once they are reported."""
        self._store, self._context, self._executor, self._sealer = store, context, executor, sealer
        self._report_nodes = look_again
        self._tasks: dict[UUID, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            while True:
                self._look()
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _look(self) -> None:
        for id in [id for id, task in self._tasks.items() if task.done()]:
            task = self._tasks.pop(id)
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("cluster %s: online migration: a defect in Cenote", id, exc_info=error)
        for cluster in self._store.living_clusters():
            migration = online_migrations.active(cluster)
            if migration is None or migration.id in self._tasks or self._is_told(cluster, migration.id):
                continue
            if (context := self.context_of(cluster.id)) is not None:
                work = MigrationWork(
                    self._store, self._executor, self._sealer, context, self.context_of, self._report_nodes
                )
                task = asyncio.create_task(work.run(), name=f"online migration into {cluster.name}")
                self._tasks[migration.id] = task

    def _is_told(self, cluster: Cluster, id: UUID) -> bool:
        """Return whether the end of a migration was reported; the controller takes it into the record."""
        for node in cluster.nodes:
            status = self._store.status(cluster.id, node.name)
            if status is not None and status.migration is not None and status.migration.id == id:
                return status.migration.is_over
        return False

    def context_of(self, id: UUID) -> NodeContext | None:
        """Return the node of a cluster on this host that takes writes; None without one."""
        with contextlib.suppress(NewerFormat):
            stored = self._store.cluster(id)
            if stored is None or stored.value.deleted_at is not None:
                return None
            for node in stored.value.nodes:
                if node.host != self._store.host_id:
                    continue
                status = self._store.status(id, node.name)
                version = "" if status is None else status.data_version
                leader = self._store.leader(stored.value)
                context = NodeContext(stored.value, node, self._context, data_version=version, leader=leader)
                if NodeKind.WRITER in context.kinds and status is not None and status.reached > 0:
                    return context
        return None
