"""The reconcile loop of one node: wake, pass, report.

It wakes when the record changes, when a server process ends, and periodically to detect drift: changes made
on the machine by others.  It reports what it observes; only the plans decide.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from cenote.agent.node_pass import Converged, NodePass, Waiting
from cenote.engine.plan.context import HostContext, NodeContext
from cenote.errors import CenoteError, Unavailable
from cenote.host import processes
from cenote.host.executor import Executor
from cenote.host.sql import Session
from cenote.model.records import Cluster, NodeStatus
from cenote.model.topology import node_key
from cenote.rules import storage
from cenote.stats.counters import Passes, PassResult
from cenote.store.encoding import NewerFormat
from cenote.store.host_store import HostStore
from cenote.store.tables import Stored

log = logging.getLogger(__name__)

POLL_FIRST, POLL_MOST = 0.005, 0.5  # seconds between passes while a server is starting
POLL_GROWTH = 1.2
WORTH_REPORTING = 0.1  # seconds


class NodeLoop:
    """Reconciles one node until its cluster is removed."""

    def __init__(
        self,
        store: HostStore,
        executor: Executor,
        host_context: HostContext,
        cluster_id: UUID,
        node_name: str,
        copying: asyncio.Semaphore,
        passes: Passes,
    ) -> None:
        self.wake = asyncio.Event()
        self._store, self._host_context = store, host_context
        self._cluster_id, self._node_name, self._passes = cluster_id, node_name, passes
        self._pass = NodePass(executor, copying)
        self._watch = processes.ProcessWatch()
        self._began: float | None = None
        self._stopped: tuple[str, ...] = ()  # servers that were found not to run at the end of a pass
        self._task = asyncio.create_task(self._run(), name=f"cluster {cluster_id}")

    @property
    def finished(self) -> bool:
        return self._task.done()

    @property
    def label(self) -> str:
        return node_key(self._cluster_id, self._node_name)

    def busy_for(self) -> float:
        """Return for how many seconds the pass that is under way has lasted; 0 between passes."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        timing = self._host_context.timing
        poll, backoff, waited_for = POLL_FIRST, timing.backoff_first, ""
        try:
            while True:
                self.wake.clear()
                try:
                    stored = self._store.cluster(self._cluster_id)
                except NewerFormat as error:
                    # Of what this version cannot read, nothing is changed on the machine either.
                    await self._report(f"left as it is: {error}", failing=True)
                    await self._sleep(timing.resync_interval)
                    continue
                if stored is None:
                    break
                began, result = self._passes.begin(self._cluster_id), PassResult.FAILED
                self._began = time.monotonic()
                spread = random.uniform(0.8, 1.2)  # noqa: S311 - the passes over time
                pause = timing.resync_interval * spread
                try:
                    if stored.value.deleted_at is not None:
                        await self._remove(stored)
                    elif await self._converge(stored):
                        pause = timing.resync_interval_nearly_full
                except Waiting as waiting:
                    result = PassResult.WAITING
                    if str(waiting) != waited_for:
                        poll, waited_for = POLL_FIRST, str(waiting)
                    # Most waits are too short to be worth a report, which costs a write.
                    if poll >= WORTH_REPORTING:
                        await self._report(str(waiting), waiting=True)
                    pause, poll = poll, min(poll * POLL_GROWTH, POLL_MOST)
                except (CenoteError, OSError) as error:
                    log.warning("cluster %s: %s", stored.value.name, _in_words(error))
                    await self._report(_in_words(error), failing=True)
                    pause, backoff = backoff, min(backoff * 2, timing.backoff_max)
                except Exception:
                    log.exception("cluster %s: a defect in Cenote", stored.value.name)
                    await self._report("an unexpected error; see Cenote's log", failing=True)
                    pause, backoff = backoff, min(backoff * 2, timing.backoff_max)
                else:
                    result, backoff, waited_for = PassResult.DONE, timing.backoff_first, ""
                self._passes.end(self._cluster_id, result, began)
                self._began = None
                await self._sleep(pause)
        finally:
            self._passes.forget(self._cluster_id)
            self._store.forget(self._cluster_id)
            self._watch.close()

    async def _converge(self, stored: Stored[Cluster]) -> bool:
        """Make a pass and report; return whether the next one should follow soon."""
        context = self._context(stored)
        session = _session(context)
        try:
            converged = await self._pass.run(context, session)
        finally:
            all_run = self._watch_servers(context)
            await session.close()
        if not all_run:  # one has ended during the pass
            self.wake.set()
        await self._report_converged(stored, converged)
        await self._write_events(context.cluster)
        if converged.use is None:
            return False
        return storage.is_nearly_full(converged.use, context.cluster.storage_mib)

    async def _remove(self, stored: Stored[Cluster]) -> None:
        context = self._context(stored)
        await self._pass.remove(context, _session(context))
        # The controller forgets the cluster when all of its nodes are removed.
        await self._report("", removed=True)

    def _watch_servers(self, context: NodeContext) -> bool:
        """Wake when a server ends; return whether all are running."""
        stopped = []
        for program in context.programs:
            process = processes.find(program)
            if process is not None:
                self._watch.add(process, self.wake.set)
            else:
                stopped.append(program.name)
        self._stopped = tuple(stopped)
        return not stopped

    def _context(self, stored: Stored[Cluster]) -> NodeContext:
        cluster = stored.value
        node = next(node for node in cluster.nodes if node.name == self._node_name)
        return NodeContext(
            cluster,
            node,
            self._host_context,
            was_online=self._status().reached > 0,
            issued_certificate=self._store.certificate(cluster.id),
        )

    async def _write_events(self, cluster: Cluster) -> None:
        """Write the events of a successful pass; not for each attempt of one that fails."""
        notes = self._pass.notes
        for what, note in list(notes.items()):
            try:
                await self._store.remember(cluster.id, self._node_name, note)
            except Unavailable as error:
                log.warning("cluster %s: cannot write the event that it %s: %s", cluster.name, what, error)
                return
            del notes[what]

    async def _report_converged(self, stored: Stored[Cluster], converged: Converged) -> None:
        cluster, use, refused = stored.value, converged.use, converged.refuses_writes
        if self._status().reached == 0:
            self._pass.notes.clear()  # the steps of creating a cluster are not events
        full = "" if use is None else storage.problem(use, cluster, refused=refused)
        certificate = converged.certificate_problem
        if certificate and certificate not in self._status().reason:
            log.warning("cluster %s: %s", cluster.name, certificate)
        await self._report(
            "; ".join(filter(None, (full, certificate))),
            failing=refused or bool(certificate),
            reached=stored.revision,
            settings=converged.settings,
            outdated=converged.outdated,
            not_in_force={name: str(urgency) for name, urgency in converged.not_in_force.items()},
            used_mib=0 if use is None else use.used_mib,
            use=None if use is None else storage.reported_use(cluster, use),
            size=cluster.size,
            region=cluster.region,
            storage_mib=cluster.storage_mib,
        )

    async def _report(
        self, reason: str, *, failing: bool = False, waiting: bool = False, **seen: object
    ) -> None:
        """Report the status; fields that this pass does not know keep their values."""
        status = msgspec.structs.replace(
            self._status(),
            reason=reason,
            failing=failing,
            waiting=waiting,
            stopped=self._stopped,
            at=datetime.now(UTC),
            **seen,
        )
        try:
            await self._store.report(self._cluster_id, self._node_name, status)
        except Unavailable as error:
            log.warning("cluster %s: cannot report: %s", self._cluster_id, error)
            self.wake.set()

    def _status(self) -> NodeStatus:
        known = self._store.status(self._cluster_id, self._node_name)
        return known or NodeStatus(reached=0, at=datetime.now(UTC))

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wake.wait()


def _session(context: NodeContext) -> Session:
    return Session(context.cluster_paths.sockets, context.node.port, context.node.pool_port)


def _in_words(error: CenoteError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
