"""The reconcile loop of one node: wake, pass, report (``node_reports``).

It wakes when the record changes, when a server process ends, and periodically to detect drift: changes made
on the machine by others.  It reports what it observes; only the plans decide.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Container, Iterable
from datetime import UTC, datetime
from uuid import UUID

from cenote.agent import deletion, drops
from cenote.agent.failover_watch import FailoverWatch
from cenote.agent.missing_followers import MissingFollowers
from cenote.agent.node_pass import NodePass, Waiting, session_of
from cenote.agent.node_reports import NodeReports
from cenote.agent.pass_queue import Held, PassQueue, Turn, Urgency
from cenote.agent.quiet import Quiet
from cenote.agent.waiting import is_set_within
from cenote.engine.plan import switching
from cenote.engine.plan.context import Follower, HostContext, NodeContext, NodeKind, Peer, Source
from cenote.errors import CenoteError, NotFound, ServerGone, Unavailable
from cenote.host import control_file, processes, trash
from cenote.host.executor import Executor
from cenote.model.records import Cluster, Node, Switchover, SwitchStage
from cenote.model.status_records import UpgradeReport
from cenote.model.topology import has_standbys, in_words, node_key
from cenote.rules import removals, replicas, repository_identity, rolling, storage, sweep
from cenote.stats.counters import Passes, PassResult
from cenote.store.encoding import NewerFormat
from cenote.store.host_store import HostStore
from cenote.store.tables import Stored

log = logging.getLogger(__name__)

POLL_FIRST, POLL_MOST = 0.005, 0.5  # seconds between passes while a server is starting
POLL_GROWTH = 1.2
POLL_OFTEN = 0.03  # at most, while clients are held for a switch
POLL_SUSPICION = 0.15  # while clients are held, and it may turn out that they need not be
HELD_SOON = 3.0  # seconds in which a switch is over, unless something has to be looked at
HELD_LONG = 15.0  # seconds after which the switch has failed, or its other host is away
OTHER_USERS_PAUSE = 1.0  # seconds until pools work for roles that SQL has just made; it may make many
RESTARTING_PAUSE = 0.3  # seconds between looks while another node of the cluster is restarted
BUSY_PAUSE = 0.5  # seconds between looks at what is about to end: transactions in pools, sessions of a user
UPGRADING_PAUSE = 0.5  # seconds between looks at what is left of an upgrade to another major version
WORTH_REPORTING = 0.1  # seconds
# A server that fails to start is started again and again; what is shown meanwhile is that it fails.
WORTH_REPORTING_AFTER_FAILURE = 5.0


class NodeLoop:
    """Reconciles one node until its cluster is removed, or its record has the node here no more."""

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
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """``in_use``: the ports that clients were connected to at the start of this process."""
        self._store, self._host_context = store, host_context
        self._cluster_id, self._node_name, self._passes = cluster_id, node_name, passes
        self._pass = NodePass(executor, copying)
        self._queue = queue
        self._wake = asyncio.Event()
        self._reports = NodeReports(
            store, cluster_id, node_name, host_context.layout, self._pass, on_lost=self._wake.set
        )
        self._turn: Turn | None = None
        self._watch = processes.ProcessWatch()
        self._failover_watch = FailoverWatch(executor, self._look_again)
        self._began: float | None = None
        self._poll, self._waiting_since = POLL_FIRST, 0.0
        self._waited_for = ("", False)  # what, and whether clients are held meanwhile
        self._backoff = host_context.timing.backoff_first
        self._has_lost_server = False  # in the pass that failed last
        self._missing_followers = MissingFollowers()
        self.is_put_away = False  # its cluster is deleted, and its data was in the trash at the last look
        self._full = True  # the next pass has to look at everything
        self._look_due = 0.0  # when one has to, whatever wakes it (monotonic)
        self._awaited: list[asyncio.Event] = []  # set when the next pass has been reported
        self._quiet = Quiet(host_context.timing.full_look_interval)
        self._task = asyncio.create_task(self._run(in_use), name=f"cluster {cluster_id}")
        self._task.add_done_callback(lambda _: on_end())

    @property
    def finished(self) -> bool:
        return self._task.done()

    @property
    def node_name(self) -> str:
        return self._node_name

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

    async def look_again(self) -> None:
        """Make a pass over everything soon, and return when it has been reported."""
        reported = asyncio.Event()
        self._awaited.append(reported)
        self._full = True
        self.notice()
        await reported.wait()

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self, in_use: Container[int]) -> None:
        starting: Held | None = None
        try:
            urgency = self._urgency_at_start(in_use)
            if urgency is Urgency.DOWN:
                starting = await self._place_to_start()
            while True:
                try:
                    pause, result = await self._take_turn(urgency)
                except Exception as error:  # whatever it is, it must not end the work on this node
                    pause, result = self._after_defect(error), PassResult.FAILED
                if pause is None:
                    break
                if starting is not None and result is not PassResult.WAITING:
                    starting.release()
                if await is_set_within(self._wake, pause):
                    urgency = Urgency.CHANGED
                elif result is not PassResult.WAITING:
                    urgency = Urgency.IDLE
        finally:
            if starting is not None:
                starting.release()
            _set(self._awaited)
            self._passes.forget(self.label)
            self._store.forget(self._cluster_id, self._node_name)
            self._watch.close()
            self._failover_watch.close()

    async def _place_to_start(self) -> Held | None:
        """Wait for a place among the servers being started; not any longer once the record changes."""
        self._wake.clear()  # it was set when the loop was made
        place, woken = asyncio.create_task(self._queue.start()), asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait({place, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            if not place.done():
                place.cancel()
        return place.result() if place.done() else None

    async def _take_turn(self, urgency: Urgency) -> tuple[float | None, PassResult]:
        """Make a pass in its turn, unless nothing has happened in the node."""
        if urgency is Urgency.IDLE and self._is_quiet():
            self._passes.skip()
            return self._until_next_look(looked=True), PassResult.QUIET
        self._turn = Turn(urgency)
        async with self._queue.turn(self._turn):
            return await self._next_pass()

    def _after_defect(self, error: Exception) -> float:
        """Log what came out of a pass or its report, such as that no descriptor is left; return the pause."""
        if isinstance(error, CenoteError | OSError):
            log.warning("cluster %s: %s", self._cluster_id, _in_words(error))
        else:
            log.error("cluster %s: a defect in Cenote", self._cluster_id, exc_info=error)
        self._began, self._full = None, True
        self._quiet.end()
        return self._next_backoff()

    def _next_backoff(self) -> float:
        pause, self._waited_for = self._backoff, ("", False)
        self._backoff = min(self._backoff * 2, self._host_context.timing.backoff_max)
        return pause

    def _urgency_at_start(self, in_use: Container[int]) -> Urgency:
        """Return how urgent the first pass is; the servers may have gone on without an agent."""
        with contextlib.suppress(NewerFormat, OSError):  # such as EMFILE, no descriptor left
            stored = self._store.cluster(self._cluster_id)
            if (
                stored is None
                or not self._is_here(stored.value)
                or stored.revision > self._reports.last().reached
            ):
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
            if (
                stored is not None
                and self._is_here(stored.value)
                and self._store.has_report(self._cluster_id, self._node_name)
            ):
                return self._quiet.lasts(self._context(stored))
        return False

    def _is_here(self, cluster: Cluster) -> bool:
        """Return whether the record has the node on this host, be it to be removed."""
        node = _node_of(_all_nodes(cluster), self._node_name)
        return node is not None and node.host == self._store.host_id

    async def _next_pass(self) -> tuple[float | None, PassResult]:
        """Make a pass and report; return the seconds until the next, None after the last, and the result."""
        woken = self._wake.is_set()
        self._wake.clear()
        awaited, self._awaited = self._awaited, []
        try:
            return await self._reported_pass(awaited, woken=woken)
        finally:
            _set(awaited)

    async def _reported_pass(
        self, awaited: list[asyncio.Event], *, woken: bool
    ) -> tuple[float | None, PassResult]:
        """Make a pass and report; if it is put off, so are those that are ``awaited``."""
        timing = self._host_context.timing
        try:
            stored = self._store.cluster(self._cluster_id)
        except NewerFormat as error:
            # Of what this version cannot read, nothing is changed on the machine either.
            await self._reports.write(f"left as it is: {error}", failing=True)
            return timing.resync_interval, PassResult.FAILED
        if stored is None or not self._is_here(stored.value):
            return None, PassResult.DONE
        if (pause := self._put_off_for(stored.value)) is not None:
            self._awaited += awaited
            awaited.clear()
            return pause, PassResult.WAITING
        began = self._passes.begin(self.label)
        self._began = time.monotonic()
        # Changes that follow one another closely do not put off the look at everything.
        full, self._full = self._full or not woken or time.monotonic() >= self._look_due, False
        self._quiet.end()
        pause, result = await self._attempt(stored, full=full)
        # A switch is gone on with by a pass over everything, however closely changes follow one another.
        self._full = self._full or result is not PassResult.DONE or self._prepares(stored.value)
        self._passes.end(self.label, result, began)
        self._began = None
        return pause, result

    def _put_off_for(self, cluster: Cluster) -> float | None:
        """Return for how many seconds a pass would only be in the way, None if it would not."""
        if self._is_held(cluster):
            return POLL_MOST
        return POLL_SUSPICION if self._failover_watch.is_undecided(self._store.leader(cluster)) else None

    def _is_held(self, cluster: Cluster) -> bool:
        """Return whether a pass would only find that pools are held for a switch, and nobody leads yet.

        It would take the processor from what their clients wait for, and the new leader would wait for it.
        """
        switch = cluster.switchover
        if cluster.deleted_at is not None or switch is None or switch.in_place:
            return False
        if switch.stage is SwitchStage.PREPARING or self._reports.last().held_for != switch.attempt:
            return False
        is_led = self._store.leader(cluster) not in (None, switch.source)
        is_soon = time.monotonic() - self._waiting_since < HELD_SOON
        return not is_led and is_soon and self._failover_watch.holds()

    async def _attempt(self, stored: Stored[Cluster], *, full: bool) -> tuple[float, PassResult]:
        """Make a pass; return the seconds until the next one, and the result."""
        timing = self._host_context.timing
        try:
            pause = await self._bring_about(stored, full=full)
        except Waiting as waiting:
            return await self._wait_for(stored, waiting), PassResult.WAITING
        except (CenoteError, OSError) as error:
            log.warning("cluster %s: %s", in_words(stored.value, self._node_name), _in_words(error))
            self._has_lost_server = isinstance(error, ServerGone)
            await self._report_failure(stored, _in_words(error))
            with contextlib.suppress(CenoteError, OSError):
                await self._drop(stored)
            if self._prepares(stored.value):  # what has failed is tried again beside it
                return min(self._next_backoff(), BUSY_PAUSE), PassResult.FAILED
        except Exception:
            log.exception("cluster %s: a defect in Cenote", in_words(stored.value, self._node_name))
            await self._report_failure(stored, "an unexpected error; see Cenote's log")
        else:
            self._backoff, self._waited_for = timing.backoff_first, ("", False)
            return pause, PassResult.DONE
        return self._next_backoff(), PassResult.FAILED

    async def _bring_about(self, stored: Stored[Cluster], *, full: bool) -> float:
        if stored.value.deleted_at is not None or _node_of(stored.value.nodes, self._node_name) is None:
            await self._remove(stored)
            self.is_put_away = self._reports.last().kept
            if self.is_put_away:  # nothing happens to it but what wakes this loop
                return self._host_context.timing.full_look_interval * _spread()
            return self._until_next_look(looked=True)
        self.is_put_away = False
        if stored.value.undeletion is not None:
            await self._take_back(stored.value, is_needed=self._reports.last().reached > 0)
        is_nearly_full = await self._converge(stored, full=full)
        pause = self._until_next_look(looked=full)
        if self._pass.sql_changes.has_other_users:
            pause = min(pause, OTHER_USERS_PAUSE)
        if self._is_upgrading():
            pause = min(pause, UPGRADING_PAUSE)
        source = self._source(stored.value)
        if source is not None and source.upgraded_to:  # what its readers see is told
            pause = min(pause, UPGRADING_PAUSE)
        if rolling.is_new(stored.value.restart_turn, datetime.now(UTC)):  # the next waits until it follows
            pause = min(pause, RESTARTING_PAUSE)
        if is_nearly_full:
            pause = min(pause, self._host_context.timing.resync_interval_nearly_full)
        if (missing := self._until_followed(stored.value)) is not None:
            pause = min(pause, missing)
        if self._is_busy(stored.value) or self._replays_drops(stored.value):
            pause = min(pause, BUSY_PAUSE)
        if self._prepares(stored.value):  # and is to go on with that
            pause = min(pause, POLL_FIRST)
        soon = await self._drop(stored)
        return pause if soon is None else min(pause, soon)

    async def _wait_for(self, stored: Stored[Cluster], waiting: Waiting) -> float:
        """Report what is waited for, if it takes long; return the seconds until it is looked at again."""
        reason, often = str(waiting), waiting.often
        waited_for = reason, often  # the same words may begin to hold clients
        if waited_for != self._waited_for:
            self._poll, self._waited_for, self._waiting_since = POLL_FIRST, waited_for, time.monotonic()
        # Most waits are too short to be worth a report, which costs a write.
        if often or waiting.at_once or self._pass.has_found(self._reports.last()):
            await self._reports.write(reason, waiting=True)
        elif self._poll >= WORTH_REPORTING and self._outlasts_failure():
            await self._report_unfinished(stored, reason, waiting=True)
        if waiting.at_once:  # what follows needs the processor that more looks would take
            return POLL_SUSPICION if often else POLL_MOST
        pause, self._poll = self._poll, min(self._poll * POLL_GROWTH, POLL_MOST)
        is_soon = time.monotonic() - self._waiting_since < HELD_LONG
        return min(pause, POLL_OFTEN) if often and is_soon else pause

    async def _report_unfinished(
        self, stored: Stored[Cluster], reason: str, *, failing: bool = False, waiting: bool = False
    ) -> None:
        is_there = _node_of(stored.value.nodes, self._node_name) is not None
        is_asked = is_there and stored.value.deleted_at is None
        context = self._context(stored) if is_asked else None
        await self._reports.unfinished(reason, context, failing=failing, waiting=waiting)

    async def _report_failure(self, stored: Stored[Cluster], reason: str) -> None:
        self._pass.progress.ended(reason)
        await self._report_unfinished(stored, reason, failing=True)

    def _until_next_look(self, *, looked: bool) -> float:
        """Return the seconds until everything is to be looked at; ``looked``: it was, just now."""
        now = time.monotonic()
        if looked:
            self._look_due = now + self._host_context.timing.resync_interval * _spread()
        left = max(0.0, self._look_due - now)
        expiry = self._pass.sql_changes.expires_in()
        return left if expiry is None else min(left, expiry)

    async def _converge(self, stored: Stored[Cluster], *, full: bool) -> bool:
        """Make a pass and report; return whether the next one should follow soon."""
        context = self._context(stored)
        trace = self._quiet.read(context) if full else None
        session = session_of(context)
        try:
            # No change waits for a node that stands by, and held clients wait for its pass.
            stands_by = context.kinds.isdisjoint({NodeKind.WRITER, NodeKind.REPLICA})
            async with self._reports.of_progress(0 if stands_by else stored.revision):
                converged = await self._pass.run(
                    context,
                    session,
                    stored.revision,
                    full=full,
                    has_moved_on=lambda: self._has_moved_on(stored.value.switchover),
                )
        finally:
            await session.close()
            all_run = self._watch_servers(context)
        if not all_run:  # one has ended during the pass
            self._look_again()
        last = self._reports.last()
        if last.reached == 0:
            self._pass.notes.clear()  # the steps of creating a cluster are not events
        await self._reports.converged(stored, converged)
        if converged.refused != last.refused:  # the file is to be without them before the next start
            self._look_again()
        await self._write_events(context.cluster)
        if converged.use is not None and storage.is_nearly_full(converged.use, context.cluster.storage_mib):
            return True
        waits = (
            converged.not_in_force,
            converged.outdated,
            converged.certificate_problem,
            self._pass.has_drops,
            self._pass.sql_changes.has_other_users,
            self._is_upgrading(),
            context.cluster.restart_turn is not None,
            self._until_followed(context.cluster),
            self._is_busy(context.cluster),
            self._replays_drops(context.cluster),
            self._prepares(context.cluster),
            NodeKind.REPLICA in context.kinds,  # how far it is does not show in its trace
        )
        if converged.settled and not any(waits):
            self._quiet.begin(trace, self._pass.sql_changes.expires_in())
        return False

    def _is_upgrading(self) -> bool:
        """Return whether the new server of an upgrade works, and something of it is still to be done."""
        seen = self._pass.seen.get("major_upgrade")
        return isinstance(seen, UpgradeReport) and not (seen.done or seen.refused)

    def _is_busy(self, cluster: Cluster) -> bool:
        """Return whether a switch waits for transactions in the pools of this host."""
        switch = cluster.switchover
        is_prepared = switch is not None and switch.stage is SwitchStage.PREPARING
        return switch is not None and is_prepared and self._reports.last().free_for != switch.attempt

    def _replays_drops(self, cluster: Cluster) -> bool:
        """Return whether the server follows one that drops a user, whose sessions here end after that."""
        follows = has_standbys(cluster) and self._store.leader(cluster) != self._node_name
        return follows and removals.is_new(cluster, datetime.now(UTC))

    def _prepares(self, cluster: Cluster) -> bool:
        """Return whether the node takes writes, and prepares a switch."""
        if cluster.switchover is None:
            return False
        return switching.asked_of(cluster, self._node_name, self._store.leader(cluster)) is not None

    def _has_moved_on(self, switch: Switchover | None) -> bool:
        """Return whether the record says something else of a switch than at the beginning of a pass."""
        with contextlib.suppress(NewerFormat):
            stored = self._store.cluster(self._cluster_id)
            return stored is None or stored.value.switchover != switch
        return True

    def _until_followed(self, cluster: Cluster) -> float | None:
        leads = has_standbys(cluster) and self._store.leader(cluster) == self._node_name
        return self._missing_followers.look_after(cluster, self._reports.last(), leads=leads)

    def _look_again(self) -> None:
        self._full = True
        self.notice()

    async def _drop(self, stored: Stored[Cluster]) -> float | None:
        """Drop what was removed from the record, and report it; return when to try again, if at all."""
        if not self._pass.has_drops or stored.value.deleted_at is not None:
            return None
        if _node_of(stored.value.nodes, self._node_name) is None:
            return None
        context, made, former = self._context(stored), self._pass.drops, self._pass.drops.reason
        session = session_of(context, drops.LOCK_MILLISECONDS)
        try:
            soon = await made.run(context, session, self._wake.is_set)
        finally:
            await session.close()
        status = self._reports.last()
        reason, failing = status.reason, status.failing
        if reason == former:
            reason, failing = made.reason, bool(made.reason)
        await self._reports.write(reason, failing=failing)
        return soon

    async def _remove(self, stored: Stored[Cluster]) -> None:
        context = self._context(stored)
        if sweep.is_later(stored.value, self._node_name) and trash.is_worth_it(context.paths):
            raise CenoteError(
                f"its data is not removed: it took writes after a move that the record does not know: "
                f"{context.paths.data}. The store seems to be an older copy"
            )
        cluster, layout = stored.value, self._host_context.layout
        if not deletion.is_put_away(cluster, self._reports.last(), context.cluster_paths):
            if cluster.deleted_at is not None:  # again, perhaps before the data was back
                await self._take_back(cluster, is_needed=False)
            note = deletion.trash_note(context, datetime.now(UTC))
            await self._pass.remove(context, session_of(context), note)
        self._reports.stopped = tuple(program.name for program in context.programs)
        # The controller forgets the cluster when all of its nodes are removed and nothing is kept.
        await self._reports.write(
            "",
            removed=True,
            removed_for=cluster.deleted_at,
            kept=await asyncio.to_thread(deletion.keeps, layout, cluster),
            standby=None,
            ended_at=0,
            clients=0,
            unresponsive=(),
        )

    async def _take_back(self, cluster: Cluster, *, is_needed: bool) -> None:
        layout = self._host_context.layout
        await asyncio.to_thread(deletion.take_back, layout, cluster, self._node_name, is_needed=is_needed)

    def _watch_servers(self, context: NodeContext) -> bool:
        """Wake when a server ends; return whether all are running."""
        stopped = []
        is_managed = NodeKind.MANAGED in context.kinds
        held_first = self._failover_watch.follow(context)  # a pass beside it would be in its way
        for program in (*context.programs, *([context.failover_agent] if is_managed else [])):
            process = processes.find(program)
            if process is None:
                stopped.append(program.name)
            elif process not in held_first:
                self._watch.add(process, self._look_again)
        self._reports.stopped = tuple(stopped)
        return not stopped

    def _context(self, stored: Stored[Cluster]) -> NodeContext:
        cluster = stored.value
        node = _node_of(_all_nodes(cluster), self._node_name)
        if node is None:
            raise NotFound
        agreed = self._store.agreed(cluster.id)
        return NodeContext(
            cluster,
            node,
            self._host_context,
            leader=self._store.leader(cluster),
            agreed=agreed,
            was_online=self._reports.last().reached > 0,
            issued_certificate=self._store.certificate(cluster.id),
            store_certificate=self._store.store_certificate(cluster.id),
            refused=self._reports.last().refused,
            by_sql=self._reports.last().by_sql,
            peer=self._peer(cluster),
            data_version=control_file.major_version(
                self._host_context.layout.node(cluster.id, self._node_name).data
            ),
            addresses=self._addresses(cluster),
            shares_repository=self._shares_repository(cluster),
            source=self._source(cluster),
            replicas=self._replicas(cluster),
        )

    def _shares_repository(self, cluster: Cluster) -> bool:
        hosts = [self._store.host(node.host) for node in cluster.nodes]
        known = [host for host in hosts if host is not None]
        return all(repository_identity.is_shared(known[0], other) for other in known[1:])

    def _source(self, cluster: Cluster) -> Source | None:
        """Return what a read replica follows, with the servers of it whose hosts' addresses are known."""
        found = None if cluster.replica_of is None else self._store.living_cluster(cluster.replica_of)
        if found is None:
            return None
        nodes = [node for node in found.nodes if node.lost_at is None]
        places = [(self._address(node.host), node.port) for node in nodes]
        return Source(
            found.name,
            tuple((address, port) for address, port in places if address),
            replicas.recovered_at(found),
            "" if found.major_upgrade is None else found.version,
        )

    def _replicas(self, cluster: Cluster) -> tuple[Follower, ...]:
        """Return the read replicas that follow a cluster."""
        found = [stored.value for stored in self._store.replicas(cluster.id)]
        return tuple(Follower(replicas.slot(one), one.nodes[0].host) for one in found)

    def _addresses(self, cluster: Cluster) -> dict[str, str]:
        """Return where nodes of other hosts are reached that stand by; "" for what is not known."""
        if not has_standbys(cluster):
            return {}
        return {node.host: self._address(node.host) for node in cluster.nodes}

    def _peer(self, cluster: Cluster) -> Peer | None:
        """Return the other node while the cluster moves; of several nodes, the one that takes writes."""
        move, name = cluster.move, self._store.agreed(cluster.id).leader
        if move is not None and self._node_name in (move.source, move.target):
            name = move.source if self._node_name == move.target else move.target
        elif not has_standbys(cluster) or name == self._node_name:
            return None
        node = None if name is None else _node_of(cluster.nodes, name)
        if node is None:
            return None
        host = self._store.host(node.host)
        return Peer(node, self._address(node.host), "" if host is None else host.name)

    def _address(self, host_id: str) -> str:
        """Return where nodes of other hosts reach one; "" while it is not known."""
        host = self._store.host(host_id)
        return "" if host is None else host.fleet_address or host.address

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

    def _outlasts_failure(self) -> bool:
        """Return whether a wait is worth a report that replaces the one on a failure before it.

        That a server has ended while it was asked says nothing any more once its start is waited for.
        """
        if not self._reports.last().failing or self._has_lost_server:
            return True
        return time.monotonic() - self._waiting_since > WORTH_REPORTING_AFTER_FAILURE


def _all_nodes(cluster: Cluster) -> tuple[Node, ...]:
    """Return the nodes that there shall be, and those that are to be removed."""
    return *cluster.nodes, *cluster.left


def _node_of(nodes: Iterable[Node], name: str) -> Node | None:
    return next((node for node in nodes if node.name == name), None)


def _spread() -> float:
    """Return a factor for an interval, which spreads the passes over time."""
    return random.uniform(0.8, 1.2)  # noqa: S311


def _set(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        event.set()


def _in_words(error: CenoteError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
