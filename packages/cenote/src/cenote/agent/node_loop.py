"""The loop that brings one node closer to what is wanted: wake, look, plan, do, report.

It wakes when the record changes, when a server process ends, and now and then to see whether somebody has
changed the machine behind our back.  What it sees it reports; it decides nothing that the plans do not say.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from datetime import UTC, datetime
from types import ModuleType
from uuid import UUID

import msgspec

from cenote.engine import ASIDE, PARTS, events, loaded, outdated_binaries, removal, server
from cenote.engine.context import HostContext, NodeContext
from cenote.engine.loaded import Loaded
from cenote.errors import CenoteError, NotFound, Unavailable
from cenote.host import files, log_files, processes, system
from cenote.host.executor import Machine
from cenote.host.sql import Session
from cenote.logs import positions
from cenote.model.changes import Change, CopyTemplate, Start, Stop, Wait
from cenote.model.records import Cluster, EventType, LogSource, NodeStatus, Note
from cenote.rules import storage
from cenote.rules.storage import Use
from cenote.stats.counters import Passes, PassResult
from cenote.store.store import Store
from cenote.store.tables import Stored

log = logging.getLogger(__name__)

RESYNC_SECONDS = 20.0  # seconds between looks at a cluster that nothing was heard of
RESYNC_SECONDS_NEARLY_FULL = 2.0  # the same, where the storage is nearly full
POLL_FIRST, POLL_MOST = 0.005, 0.5  # seconds between looks while a server is starting
POLL_GROWTH = 1.2
RETRY_FIRST, RETRY_MOST = 0.5, 30.0  # seconds between tries of what has failed
WORTH_REPORTING = 0.1
TOO_FULL = 32  # MiB; PostgreSQL needs two segments of its write-ahead log to get anywhere


class Waiting(Exception):
    """A plan has come to a point where only time helps."""


class NodeLoop:
    """One node's share of the loop."""

    def __init__(
        self,
        store: Store,
        machine: Machine,
        site: HostContext,
        cluster_id: UUID,
        node_name: str,
        turn: asyncio.Semaphore,
        passes: Passes,
    ) -> None:
        self.wake = asyncio.Event()
        self._store, self._machine, self._site, self._turn = store, machine, site, turn
        self._cluster_id, self._node_name, self._passes = cluster_id, node_name, passes
        self._watch = processes.ProcessWatch()
        self._settings: tuple[Loaded, dict[str, str]] | None = None
        self._started: set[ModuleType] = set()
        self._notes: dict[str, Note] = {}
        self._task = asyncio.create_task(self._run(), name=f"cluster {cluster_id}")

    @property
    def finished(self) -> bool:
        return self._task.done()

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        poll, retry, waited_for = POLL_FIRST, RETRY_FIRST, ""
        try:
            while (stored := self._store.cluster(self._cluster_id)) is not None:
                self.wake.clear()
                began, outcome = self._passes.begin(self._cluster_id), PassResult.FAILED
                pause = RESYNC_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 - spreads the looks over time
                try:
                    if stored.value.deleted_at is not None:
                        await self._remove(stored)
                        return
                    _shorten_logs(self._wanted(stored))
                    if await self._converge(stored):
                        pause = RESYNC_SECONDS_NEARLY_FULL
                except Waiting as waiting:
                    outcome = PassResult.WAITING
                    if str(waiting) != waited_for:
                        poll, waited_for = POLL_FIRST, str(waiting)
                    # Most waits are over before anybody could read of them, and a report costs a write.
                    if poll >= WORTH_REPORTING:
                        await self._report(stored, str(waiting))
                    pause, poll = poll, min(poll * POLL_GROWTH, POLL_MOST)
                except (CenoteError, OSError) as error:
                    log.warning("cluster %s: %s", stored.value.name, _in_words(error))
                    await self._report(stored, _in_words(error), failing=True)
                    pause, retry = retry, min(retry * 2, RETRY_MOST)
                except Exception:
                    log.exception("cluster %s: a defect in Cenote", stored.value.name)
                    await self._report(stored, "an unexpected error; see Cenote's log", failing=True)
                    pause, retry = retry, min(retry * 2, RETRY_MOST)
                else:
                    outcome, retry, waited_for = PassResult.DONE, RETRY_FIRST, ""
                self._passes.end(self._cluster_id, outcome, began)
                await self._sleep(pause)
        finally:
            self._passes.forget(self._cluster_id)
            self._watch.close()

    async def _converge(self, stored: Stored[Cluster]) -> bool:
        """Do all that is needed, and report; return whether the next look should be soon."""
        wanted = self._wanted(stored)
        session = Session(wanted.paths.sockets, wanted.node.port, wanted.node.pool_port)
        try:
            failure: CenoteError | None = None
            for part in PARTS:
                try:
                    await self._bring(part, wanted, session)
                except CenoteError as error:
                    if part not in ASIDE:
                        raise
                    failure = failure or error
            if failure is not None:
                raise failure
            settings = await self._in_force(wanted, session)
            outdated = tuple((await outdated_binaries.look(self._machine, wanted, session)).outdated)
            use = await server.disk_use(self._machine, wanted)
        finally:
            all_work = self._watch_servers(wanted)
            await session.close()
        if not all_work:  # one has ended since it was looked at
            self.wake.set()
        refused = server.refuses_writes(files.read(server.configuration_file(wanted)))
        await self._report(
            stored,
            "" if use is None else storage.in_words(use, wanted.cluster, refused=refused),
            failing=refused,
            reached=stored.revision,
            settings=settings,
            outdated=outdated,
            used_mib=0 if use is None else use.used_mib,
        )
        await self._remember(wanted.cluster)
        if use is None:
            return False
        await self._grow(wanted.cluster, use)
        return storage.is_near(use, wanted.cluster.storage_mib)

    async def _in_force(self, wanted: NodeContext, session: Session) -> dict[str, str]:
        """Return what the server runs on, which is asked again when it has read its files again."""
        found = loaded.look(wanted.server)
        if self._settings is None or self._settings[0] != found:
            self._settings = found, await server.settings_in_force(session)
        return self._settings[1]

    async def _grow(self, cluster: Cluster, use: Use) -> None:
        """Give a cluster that grows by itself the storage that it needs."""
        if storage.grown(cluster, use) is cluster:
            return
        note = Note(what="gave it more storage, as it asks for", type=EventType.CLUSTER_UPDATE)
        with contextlib.suppress(NotFound):  # it was deleted meanwhile
            stored = await self._store.update_cluster(
                cluster.id, lambda current: storage.grown(current, use), note
            )
            log.info("cluster %s: its storage has grown to %d MiB", cluster.name, stored.value.storage_mib)

    async def _bring(self, part: ModuleType, wanted: NodeContext, session: Session) -> None:
        """Do all that one part of the node needs."""
        for change in part.plan(wanted, await part.look(self._machine, wanted, session)):
            if isinstance(change, Start):
                self._admit(part, change)
            elif isinstance(change, Stop):
                self._started.discard(part)
            await self._do(change, wanted, session)
            if self._has_worked() and (note := events.note_of(part, change)) is not None:
                self._notes[note.what] = note
        self._started.discard(part)

    def _has_worked(self) -> bool:
        status = self._store.status(self._cluster_id, self._node_name)
        return status is not None and status.reached > 0

    async def _remember(self, cluster: Cluster) -> None:
        """Write events of what was done, once it has led to something: not for each try of what fails."""
        for what, note in list(self._notes.items()):
            try:
                await self._store.remember(cluster, note)
            except Unavailable as error:
                log.warning("cluster %s: cannot note that it %s: %s", cluster.name, what, error)
                return
            del self._notes[what]

    def _watch_servers(self, wanted: NodeContext) -> bool:
        """Wake up when a server ends; return whether all of them work."""
        found = [processes.find(program) for program in wanted.programs]
        for process in found:
            if process is not None:
                self._watch.add(process, self.wake.set)
        return None not in found

    async def _remove(self, stored: Stored[Cluster]) -> None:
        wanted = self._wanted(stored)
        session = Session(wanted.paths.sockets, wanted.node.port, wanted.node.pool_port)
        for change in removal.plan(wanted, removal.look(wanted)):
            await self._do(change, wanted, session)
        # One node only: with several hosts the last of them to be done would forget the record.
        await self._store.forget_cluster(self._cluster_id)

    async def _do(self, change: Change, wanted: NodeContext, session: Session) -> None:
        if isinstance(change, Wait):
            raise Waiting(change.reason)
        log.info("cluster %s: %r", wanted.cluster.name, change)
        # Copies would slow each other down; everything else waits for its own cluster only.
        async with self._turn if isinstance(change, CopyTemplate) else contextlib.nullcontext():
            await self._machine.do(change, session)

    def _admit(self, part: ModuleType, start: Start) -> None:
        """Refuse to start again what has just ended: it would do so once more, with the reason in its log."""
        if part in self._started:
            self._started.discard(part)
            raise CenoteError(f"{start.program.name} does not start: {self._why(start)}")
        self._started.add(part)

    def _why(self, start: Start) -> str:
        free = system.free_mib(start.program.directory)
        if free < TOO_FULL:
            return f"its disk is full ({free} MiB are free)"
        return files.tail(start.program.log) or "it left no log"

    def _wanted(self, stored: Stored[Cluster]) -> NodeContext:
        cluster = stored.value
        node = next(node for node in cluster.nodes if node.name == self._node_name)
        return NodeContext(cluster, node, self._site)

    async def _report(
        self,
        stored: Stored[Cluster],
        reason: str,
        *,
        failing: bool = False,
        reached: int | None = None,
        settings: dict[str, str] | None = None,
        outdated: tuple[str, ...] = (),
        used_mib: int = 0,
    ) -> None:
        """Report what is seen; what is not known in this pass stays as it was."""
        now = datetime.now(UTC)
        before = self._store.status(self._cluster_id, self._node_name) or NodeStatus(reached=0, at=now)
        status = msgspec.structs.replace(before, reason=reason, failing=failing, at=now)
        if reached is not None:
            cluster = stored.value
            status = msgspec.structs.replace(
                status,
                reached=reached,
                settings=before.settings if settings is None else settings,
                size=cluster.size,
                region=cluster.region,
                storage_mib=cluster.storage_mib,
                outdated=outdated,
                used_mib=used_mib,
            )
        try:
            await self._store.report(self._cluster_id, self._node_name, status)
        except Unavailable as error:
            log.warning("cluster %s: cannot report: %s", stored.value.name, error)
            self.wake.set()

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wake.wait()


def _shorten_logs(wanted: NodeContext) -> None:
    """Give back the space of what no reader and no log sink needs; whatever hinders it stops nothing else."""
    try:
        _shorten(wanted)
    except OSError as error:
        log.warning("cluster %s: its logs cannot be shortened: %s", wanted.cluster.name, error)


def _shorten(wanted: NodeContext) -> None:
    kept = [
        positions.read(content)
        for sink in wanted.cluster.sinks
        if (content := files.read(wanted.paths.sink(sink.id))) is not None
    ]
    for source in LogSource:
        path = wanted.paths.log(source)
        end = log_files.end(path)
        places = [known.at(source) for known in kept]
        unshipped = min((place.at if place.file == end.file else 0 for place in places), default=None)
        log_files.shorten(path, unshipped)


def _in_words(error: CenoteError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
