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
from collections.abc import AsyncIterator, Container
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec

from cenote.agent import drops
from cenote.agent.node_pass import Converged, NodePass, Waiting
from cenote.agent.pass_queue import Held, PassQueue, Turn, Urgency
from cenote.agent.quiet import Quiet
from cenote.engine.plan.context import HostContext, NodeContext
from cenote.errors import CenoteError, Unavailable
from cenote.host import processes
from cenote.host.executor import Executor
from cenote.host.sql import LOCK_MILLISECONDS, Session
from cenote.model.records import Cluster, NodeStatus
from cenote.model.topology import Health, node_key, reported_health
from cenote.rules import storage
from cenote.stats.counters import Passes, PassResult
from cenote.store.encoding import NewerFormat
from cenote.store.host_store import HostStore
from cenote.store.tables import Stored

log = logging.getLogger(__name__)

POLL_FIRST, POLL_MOST = 0.005, 0.5  # seconds between passes while a server is starting
POLL_GROWTH = 1.2
WORTH_REPORTING = 0.1  # seconds
PROGRESS_INTERVAL = 0.5  # seconds between reports on a pass that takes long
# A server that fails to start is started again and again; what is shown meanwhile is that it fails.
WORTH_REPORTING_AFTER_FAILURE = 5.0


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
        queue: PassQueue,
        in_use: Container[int] = (),
    ) -> None:
        """``in_use``: the ports that clients were connected to at the start of this process."""
        self._store, self._host_context = store, host_context
        self._cluster_id, self._node_name, self._passes = cluster_id, node_name, passes
        self._pass = NodePass(executor, copying)
        self._queue = queue
        self._wake = asyncio.Event()
        self._turn: Turn | None = None
        self._watch = processes.ProcessWatch()
        self._began: float | None = None
        self._stopped: tuple[str, ...] = ()  # servers that were found not to run at the end of a pass
        self._poll, self._waited_for, self._waiting_since = POLL_FIRST, "", 0.0
        self._backoff = host_context.timing.backoff_first
        self._full = True  # the next pass has to look at everything
        self._quiet = Quiet(host_context.timing.full_look_interval)
        self._task = asyncio.create_task(self._run(in_use), name=f"cluster {cluster_id}")

    @property
    def finished(self) -> bool:
        return self._task.done()

    @property
    def label(self) -> str:
        return node_key(self._cluster_id, self._node_name)

    def busy_for(self) -> float:
        """Return for how many seconds the pass that is under way has lasted; 0 between passes."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def notice(self) -> None:
        """Make a pass soon: the record has changed."""
        self._wake.set()
        if self._turn is not None:
            self._queue.expedite(self._turn)

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self, in_use: Container[int]) -> None:
        starting: Held | None = None
        pause: float | None
        try:
            urgency = self._urgency_at_start(in_use)
            if urgency is Urgency.DOWN:
                starting = await self._queue.start()
            while True:
                if urgency is Urgency.IDLE and self._is_quiet():
                    self._passes.skip()
                    pause, result = self._resync_pause(), PassResult.QUIET
                else:
                    self._turn = Turn(urgency)
                    async with self._queue.turn(self._turn):
                        pause, result = await self._next_pass()
                if pause is None:
                    break
                if starting is not None and result is not PassResult.WAITING:
                    starting.release()
                if await self._woken_within(pause):
                    urgency = Urgency.CHANGED
                elif result is not PassResult.WAITING:
                    urgency = Urgency.IDLE
        finally:
            if starting is not None:
                starting.release()
            self._passes.forget(self._cluster_id)
            self._store.forget(self._cluster_id)
            self._watch.close()

    def _urgency_at_start(self, in_use: Container[int]) -> Urgency:
        """Return how urgent the first pass is; the servers may have gone on without an agent."""
        with contextlib.suppress(NewerFormat):
            stored = self._store.cluster(self._cluster_id)
            if stored is None or stored.revision > self._status().reached:
                return Urgency.CHANGED
            context = self._context(stored)
            if any(processes.find(program) is None for program in context.programs):
                return Urgency.DOWN
            if context.node.port in in_use or context.node.pool_port in in_use:
                return Urgency.IN_USE
        return Urgency.IDLE

    def _is_quiet(self) -> bool:
        with contextlib.suppress(NewerFormat):
            stored = self._store.cluster(self._cluster_id)
            return stored is not None and self._quiet.lasts(self._context(stored))
        return False

    async def _next_pass(self) -> tuple[float | None, PassResult]:
        """Make a pass and report; return the seconds until the next, None after the last, and the result."""
        timing = self._host_context.timing
        woken = self._wake.is_set()
        self._wake.clear()
        try:
            stored = self._store.cluster(self._cluster_id)
        except NewerFormat as error:
            # Of what this version cannot read, nothing is changed on the machine either.
            await self._report(f"left as it is: {error}", failing=True)
            return timing.resync_interval, PassResult.FAILED
        if stored is None:
            return None, PassResult.DONE
        began = self._passes.begin(self._cluster_id)
        self._began = time.monotonic()
        full, self._full = self._full or not woken, False
        self._quiet.end()
        pause, result = await self._attempt(stored, full=full)
        self._full = self._full or result is not PassResult.DONE
        self._passes.end(self._cluster_id, result, began)
        self._began = None
        return pause, result

    async def _attempt(self, stored: Stored[Cluster], *, full: bool) -> tuple[float, PassResult]:
        """Make a pass; return the seconds until the next one, and the result."""
        timing = self._host_context.timing
        try:
            pause = await self._bring_about(stored, full=full)
        except Waiting as waiting:
            return await self._wait_for(stored, str(waiting)), PassResult.WAITING
        except (CenoteError, OSError) as error:
            log.warning("cluster %s: %s", stored.value.name, _in_words(error))
            await self._report_failure(stored, _in_words(error))
            with contextlib.suppress(CenoteError, OSError):
                await self._drop(stored)
        except Exception:
            log.exception("cluster %s: a defect in Cenote", stored.value.name)
            await self._report_failure(stored, "an unexpected error; see Cenote's log")
        else:
            self._backoff, self._waited_for = timing.backoff_first, ""
            return pause, PassResult.DONE
        pause, self._backoff, self._waited_for = self._backoff, min(self._backoff * 2, timing.backoff_max), ""
        return pause, PassResult.FAILED

    async def _bring_about(self, stored: Stored[Cluster], *, full: bool) -> float:
        pause = self._resync_pause()
        if stored.value.deleted_at is not None:
            await self._remove(stored)
            return pause
        if await self._converge(stored, full=full):
            pause = self._host_context.timing.resync_interval_nearly_full
        soon = await self._drop(stored)
        return pause if soon is None else min(pause, soon)

    async def _wait_for(self, stored: Stored[Cluster], reason: str) -> float:
        """Report what is waited for, if it takes long; return the seconds until it is looked at again."""
        if reason != self._waited_for:
            self._poll, self._waited_for, self._waiting_since = POLL_FIRST, reason, time.monotonic()
        # Most waits are too short to be worth a report, which costs a write.
        if self._poll >= WORTH_REPORTING and self._outlasts_failure():
            await self._report_unfinished(stored, reason, waiting=True)
        pause, self._poll = self._poll, min(self._poll * POLL_GROWTH, POLL_MOST)
        return pause

    async def _report_failure(self, stored: Stored[Cluster], reason: str) -> None:
        self._pass.progress.ended(reason)
        await self._report_unfinished(stored, reason, failing=True)

    def _resync_pause(self) -> float:
        spread = random.uniform(0.8, 1.2)  # noqa: S311 - the passes over time
        return self._host_context.timing.resync_interval * spread

    async def _converge(self, stored: Stored[Cluster], *, full: bool) -> bool:
        """Make a pass and report; return whether the next one should follow soon."""
        context = self._context(stored)
        trace = self._quiet.read(context) if full else None
        session = _session(context)
        try:
            async with self._reporting_progress(stored.revision):
                converged = await self._pass.run(context, session, stored.revision, full=full)
        finally:
            all_run = self._watch_servers(context)
            await session.close()
        if not all_run:  # one has ended during the pass
            self._look_again()
        await self._report_converged(stored, converged)
        await self._write_events(context.cluster)
        if converged.use is not None and storage.is_nearly_full(converged.use, context.cluster.storage_mib):
            return True
        waits = (
            converged.not_in_force,
            converged.outdated,
            converged.certificate_problem,
            self._pass.has_drops,
        )
        if converged.settled and not any(waits):
            self._quiet.begin(trace)
        return False

    def _look_again(self) -> None:
        self._full = True
        self.notice()

    async def _drop(self, stored: Stored[Cluster]) -> float | None:
        """Drop what was removed from the record, and report it; return when to try again, if at all."""
        if not self._pass.has_drops or stored.value.deleted_at is not None:
            return None
        context, made, former = self._context(stored), self._pass.drops, self._pass.drops.reason
        session = _session(context, drops.LOCK_MILLISECONDS)
        try:
            soon = await made.run(context, session, self._wake.is_set)
        finally:
            await session.close()
        status = self._status()
        reason, failing = status.reason, status.failing
        if reason == former:
            reason, failing = made.reason, bool(made.reason)
        await self._report(reason, failing=failing)
        return soon

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
                self._watch.add(process, self._look_again)
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
            refused=self._status().refused,
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
        known = self._status().refused
        if self._status().reached == 0:
            self._pass.notes.clear()  # the steps of creating a cluster are not events
        full = "" if use is None else storage.problem(use, cluster, refused=refused)
        certificate = converged.certificate_problem
        if certificate and certificate not in self._status().reason:
            log.warning("cluster %s: %s", cluster.name, certificate)
        remains = "" if full else self._pass.drops.reason  # as of the last attempts
        await self._report(
            "; ".join(filter(None, (full or remains, certificate))),
            failing=refused or bool(remains or certificate),
            unresponsive=(),  # a pass asks both servers; one that looks at a part only follows such a pass
            reached=stored.revision,
            settings=converged.settings,
            outdated=converged.outdated,
            not_in_force={name: str(urgency) for name, urgency in converged.not_in_force.items()},
            used_mib=0 if use is None else use.used_mib,
            use=None if use is None else storage.reported_use(cluster, use),
            size=cluster.size,
            region=cluster.region,
            storage_mib=cluster.storage_mib,
            limits=converged.limits,
            refused=converged.refused,
        )
        if converged.refused != known:  # the file is to be without them before the next start
            self._look_again()

    def _outlasts_failure(self) -> bool:
        """Return whether a wait is worth a report that replaces the one on a failure before it."""
        if not self._status().failing:
            return True
        return time.monotonic() - self._waiting_since > WORTH_REPORTING_AFTER_FAILURE

    async def _report_unfinished(
        self, stored: Stored[Cluster], reason: str, *, failing: bool = False, waiting: bool = False
    ) -> None:
        """Report why a pass has ended early, and then which servers run but do not answer.

        Whoever waits for the reason need not wait for the seconds in which a server could answer.
        """
        await self._report(reason, failing=failing, waiting=waiting)
        unresponsive: tuple[str, ...] = ()
        is_there = stored.value.deleted_at is None and self._status().reached
        if is_there and any(node.name == self._node_name for node in stored.value.nodes):
            with contextlib.suppress(OSError):  # such as EMFILE, no descriptor left
                unresponsive = await _unresponsive(self._context(stored))
        if unresponsive != self._status().unresponsive:
            await self._report(reason, failing=failing, waiting=waiting, unresponsive=unresponsive)

    async def _report(
        self, reason: str, *, failing: bool = False, waiting: bool = False, **seen: object
    ) -> None:
        """Report the status; fields that this pass does not know keep their values."""
        before, now = self._status(), datetime.now(UTC)
        status = msgspec.structs.replace(
            before,
            reason=reason,
            failing=failing,
            waiting=waiting,
            stopped=self._stopped,
            at=now,
            **self._pass.drops.seen | self._pass.progress.fields() | seen,
        )
        status = msgspec.structs.replace(status, since=self._since(before, status))
        await self._write(status)

    @contextlib.asynccontextmanager
    async def _reporting_progress(self, revision: int) -> AsyncIterator[None]:
        """Report what is done of a pass that takes long, as while SQL waits for a customer's lock.

        A change that waits for one of its first parts is then answered.
        """
        ended = asyncio.Event()

        async def report() -> None:
            while not await _is_set_within(ended, PROGRESS_INTERVAL):
                known = self._status()
                if 0 < known.reached < revision:
                    await self._write(msgspec.structs.replace(known, **self._pass.progress.fields()))

        reporting = asyncio.create_task(report(), name=f"progress of {self.label}")
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
            self._wake.set()

    def _since(self, before: NodeStatus, status: NodeStatus) -> datetime:
        """Return when the health that follows from a report began.

        While no agent was there, a server that runs may have been down; it was up since its start.
        """
        health, now = reported_health(status), status.at.replace(microsecond=0)
        if health is not reported_health(before):
            return now
        since = before.since or before.at.replace(microsecond=0)
        if before.run != self._store.run and health in (Health.HEALTHY, Health.DEGRADED):
            paths = self._host_context.layout.node(self._cluster_id, self._node_name)
            server = processes.find(paths.server(Path()))
            since = since if server is None else max(since, processes.started_at(server))
        return min(since, now).replace(microsecond=0)

    def _status(self) -> NodeStatus:
        known = self._store.status(self._cluster_id, self._node_name)
        return known or NodeStatus(reached=0, at=datetime.now(UTC))

    async def _woken_within(self, seconds: float) -> bool:
        """Wait; return whether somebody has asked for a pass."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        return self._wake.is_set()


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def _session(context: NodeContext, lock_milliseconds: int = LOCK_MILLISECONDS) -> Session:
    node = context.node
    return Session(
        context.cluster_paths.sockets, node.port, node.pool_port, lock_milliseconds=lock_milliseconds
    )


async def _unresponsive(context: NodeContext) -> tuple[str, ...]:
    """Return the names of the servers that run but do not answer."""
    session = _session(context)
    try:
        asked = [
            (program.name, asyncio.create_task(answers()))
            for program, answers in zip(
                context.programs, (session.answers, session.pooler_answers), strict=True
            )
            if processes.find(program) is not None
        ]
        return tuple([name for name, answered in asked if not await answered])
    finally:
        await session.close()


def _in_words(error: CenoteError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
