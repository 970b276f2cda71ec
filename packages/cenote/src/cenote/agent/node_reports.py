"""Reports on a node: what the last pass has seen of it, how far it came, and since when that is so."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec

from cenote.agent.node_pass import Converged, NodePass, session_of
from cenote.agent.waiting import is_set_within
from cenote.engine.plan.context import NodeContext
from cenote.errors import Unavailable
from cenote.host import processes
from cenote.model.paths import Layout
from cenote.model.records import Cluster
from cenote.model.status_records import NodeStatus
from cenote.model.topology import Health, has_standbys, node_key, reported_health
from cenote.rules import storage
from cenote.rules.restarts import Urgency
from cenote.store.host_store import HostStore
from cenote.store.tables import Stored

log = logging.getLogger(__name__)

PROGRESS_INTERVAL = 0.5  # seconds between reports on a pass that takes long
_EARLY = frozenset({"restart"})  # fields without which such a report would say that a setting is in force


class NodeReports:
    """Writes the reports on one node; fields that a report does not know keep their values.

    ``stopped`` are the servers that were found not to run at the end of a pass.
    """

    def __init__(
        self,
        store: HostStore,
        cluster_id: UUID,
        node_name: str,
        layout: Layout,
        node_pass: NodePass,
        on_lost: Callable[[], None],
    ) -> None:
        """``on_lost`` is called when a report could not be written; the next pass reports again."""
        self._store, self._cluster_id, self._node_name = store, cluster_id, node_name
        self._layout, self._pass, self._on_lost = layout, node_pass, on_lost
        self.stopped: tuple[str, ...] = ()

    def last(self) -> NodeStatus:
        """Return the last report, by this process or a former one."""
        known = self._store.status(self._cluster_id, self._node_name)
        return known or NodeStatus(reached=0, at=datetime.now(UTC))

    async def converged(self, stored: Stored[Cluster], converged: Converged) -> None:
        """Report what a pass has found that has brought about all there is to do."""
        cluster, use, refused = stored.value, converged.use, converged.refuses_writes
        before = self.last()
        full = "" if use is None else storage.problem(use, cluster, refused=refused)
        certificate = converged.certificate_problem
        if certificate and certificate not in before.reason:
            log.warning("cluster %s: %s", cluster.name, certificate)
        remains = "" if full else self._pass.drops.reason  # as of the last attempts
        await self.write(
            "; ".join(filter(None, (full or remains, certificate))),
            failing=refused or bool(remains or certificate),
            unresponsive=(),  # a pass asks both servers; one that looks at a part only follows such a pass
            reached=stored.revision,
            settings=converged.settings,
            outdated=converged.outdated,
            not_in_force={name: str(urgency) for name, urgency in converged.not_in_force.items()},
            used_mib=0 if use is None else use.used_mib,
            use=None if use is None else storage.reported_use(cluster, use),
            size=_size_in_force(cluster, before, converged),
            region=cluster.region,
            storage_mib=cluster.storage_mib,
            limits=converged.limits,
            refused=converged.refused,
        )

    async def unfinished(
        self, reason: str, context: NodeContext | None, *, failing: bool = False, waiting: bool = False
    ) -> None:
        """Report why a pass has ended early, and then which servers run but do not answer.

        Whoever waits for the reason need not wait for the seconds in which a server could answer.
        ``context`` is that of a node whose servers may be asked.
        """
        await self.write(reason, failing=failing, waiting=waiting)
        unresponsive: tuple[str, ...] = ()
        if context is not None and self.last().reached:
            with contextlib.suppress(OSError):  # such as EMFILE, no descriptor left
                unresponsive = await _unresponsive(context)
        if unresponsive != self.last().unresponsive:
            await self.write(reason, failing=failing, waiting=waiting, unresponsive=unresponsive)

    async def write(
        self, reason: str, *, failing: bool = False, waiting: bool = False, **seen: object
    ) -> None:
        before, now = self.last(), datetime.now(UTC)
        status = msgspec.structs.replace(
            before,
            reason=reason,
            failing=failing,
            waiting=waiting,
            stopped=self.stopped,
            at=now,
            **{
                "removed": False,
                "removed_for": None,
                "kept": False,
            }  # of a node of the same name that was here before
            | self._pass.drops.seen
            | self._pass.sql_changes.fields()
            | self._pass.progress.fields()
            | self._pass.seen
            | seen,
        )
        status = msgspec.structs.replace(status, since=self._since(before, status))
        await self._write(status)

    @contextlib.asynccontextmanager
    async def of_progress(self, revision: int) -> AsyncIterator[None]:
        """Report what is done of a pass that takes long, as while SQL waits for a customer's lock.

        A change that waits for one of its first parts is then answered.  Nothing is said before the first
        report of this process: what a former one has seen of the servers would be told as seen now.
        """
        ended = asyncio.Event()

        async def report() -> None:
            while not await is_set_within(ended, PROGRESS_INTERVAL):
                known = self.last()
                if 0 < known.reached < revision and known.run == self._store.run:
                    seen = {name: self._pass.seen[name] for name in _EARLY & self._pass.seen.keys()}
                    await self._write(msgspec.structs.replace(known, **self._pass.progress.fields(), **seen))

        node = node_key(self._cluster_id, self._node_name)
        reporting = asyncio.create_task(report(), name=f"progress of {node}")
        try:
            yield
        finally:
            # It is not cancelled, since a write could then come later than the next one.
            ended.set()
            await reporting

    async def _write(self, status: NodeStatus) -> None:
        try:
            await self._store.report(self._cluster_id, self._node_name, status)
        except Unavailable as error:
            log.warning("cluster %s: cannot report: %s", self._cluster_id, error)
            self._on_lost()

    def _since(self, before: NodeStatus, status: NodeStatus) -> datetime:
        """Return when the health that follows from a report began.

        While no agent was there, a server that runs may have been down; it was up since its start.
        """
        health, now = reported_health(status), status.at.replace(microsecond=0)
        if health is not reported_health(before):
            return now
        since = before.since or before.at.replace(microsecond=0)
        if before.run != self._store.run and health in (Health.HEALTHY, Health.DEGRADED):
            paths = self._layout.node(self._cluster_id, self._node_name)
            server = processes.find(paths.server(Path()))
            since = since if server is None else max(since, processes.started_at(server))
        return min(since, now).replace(microsecond=0)


async def _unresponsive(context: NodeContext) -> tuple[str, ...]:
    """Return the names of the servers that run but do not answer."""
    session = session_of(context)
    try:
        asked = [
            (program.name, asyncio.create_task(answers()))
            for program, answers in zip(
                context.programs, (session.answers, session.pooler_answers), strict=False
            )
            if processes.find(program) is not None
        ]
        return tuple([name for name, answered in asked if not await answered])
    finally:
        await session.close()


def _size_in_force(cluster: Cluster, before: NodeStatus, converged: Converged) -> str:
    """Return the size that a node has; of several nodes, each gets a new one with its restart."""
    is_ahead = has_standbys(cluster) and Urgency.NOW in converged.not_in_force.values()
    return before.size if before.size and is_ahead else cluster.size
