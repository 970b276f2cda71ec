"""One pass over a node: look, plan and do, part by part.

Between passes only two things are remembered: which parts have just started a program, and which events are
still to be written.
"""

from __future__ import annotations

import contextlib
import logging
from asyncio import Semaphore
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from cenote.agent.drops import Drops
from cenote.agent.pass_progress import PassProgress
from cenote.agent.preparing import Preparing
from cenote.agent.sql_changes import SqlChanges
from cenote.engine import look, plan
from cenote.engine.part import Part
from cenote.engine.parts import DROP_PARTS, NODE_PARTS, POOLER, ROLES, SWITCHING, affected
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.errors import CenoteError
from cenote.host import files, system
from cenote.host.executor import Executor
from cenote.host.inspector import Inspector
from cenote.host.sql import LOCK_MILLISECONDS, Session
from cenote.model import parameters
from cenote.model.changes import Change, CopyTemplate, Refuse, Start, Stop, Wait
from cenote.model.event_records import Note
from cenote.model.parts import PartName
from cenote.model.paths import BASE_BACKUP, PATRONI, PATRONI_LOG
from cenote.model.status_records import DiskUse, NodeStatus, SettingLimits
from cenote.model.trash import TrashNote
from cenote.rules import refused_settings, restarts
from cenote.rules.restarts import Urgency

log = logging.getLogger(__name__)


# Of a node that takes no part in a move.
_SETTLED: dict[str, object] = {
    "standby": None,
    "ended_at": 0,
    "clients": 0,
    "leads_on": False,
    "held_ms": 0,
    "copied_mib": 0,
    "quorum": (),
    "followers": (),
    "restart": None,
    "wal_gone": False,
    "lost_slots": (),
}


class Waiting(Exception):
    """A plan waits for something on the machine to finish; the message says for what.

    ``often``: clients are held meanwhile.  ``at_once``: it is reported at once, and nothing else hurries.
    """

    def __init__(self, reason: str, *, often: bool = False, at_once: bool = False) -> None:
        super().__init__(reason)
        self.often, self.at_once = often, at_once


@dataclass(frozen=True, slots=True)
class Converged:
    """A converged node: the settings in force and the use of its storage.

    ``outdated`` names the programs whose files were replaced since they were started, ``not_in_force`` the
    settings that wait for a restart.  ``settled``: a pass has looked at everything and found nothing to do.
    ``certificate_problem`` says why the servers' certificate is not valid.
    """

    settings: dict[str, str]
    not_in_force: dict[str, Urgency]
    outdated: tuple[str, ...]
    use: DiskUse | None
    refuses_writes: bool
    limits: dict[str, SettingLimits]
    refused: dict[str, str]
    settled: bool = False
    certificate_problem: str = ""


class NodePass:
    """Makes passes over one node."""

    def __init__(self, executor: Executor, copying: Semaphore) -> None:
        self._executor, self._copying = executor, copying
        self._inspector = Inspector()
        # The parts that started a program and have not completed since, with its name.
        self._started: set[tuple[str, str]] = set()
        self.notes: dict[str, Note] = {}  # events not yet written, by text
        self.progress = PassProgress()
        self.drops = Drops(self._do)  # of what was removed from the record, to be made after a pass
        self.has_drops = False
        self.sql_changes = SqlChanges(self._inspector)
        self._preparing = Preparing()
        self.seen: dict[str, object] = {}  # fields of a report
        self._changes = 0
        self._kinds: frozenset[NodeKind] = frozenset()
        self._last: tuple[NodeContext, Converged] | None = None  # of the last pass, if it was completed

    async def run(
        self,
        context: NodeContext,
        session: Session,
        revision: int = 0,
        *,
        full: bool = True,
        has_moved_on: Callable[[], bool] = lambda: False,
    ) -> Converged:
        """Carry out all changes that are needed; ``revision`` is that of the record.

        Unless ``full``, only by the parts that a change of the record since the last pass can affect.
        Raises Waiting when a plan has to wait, and CenoteError or OSError when a change fails.
        ``has_moved_on`` says that the record has gone on with a switch which the node prepares.
        """
        if not self._preparing.is_due(context):
            return await self._run(context, session, revision, full=full)
        try:
            return await self._run(context, session, revision, full=full, ends=has_moved_on)
        except Exception:  # a defect must not keep the switch waiting, either
            if not has_moved_on():
                self._preparing.tried(context, remains=True)
            raise

    async def _run(
        self,
        context: NodeContext,
        session: Session,
        revision: int,
        *,
        full: bool,
        ends: Callable[[], bool] | None = None,
    ) -> Converged:
        """Make a pass; with ``ends``, without what prepares a switch, and only until that says so."""
        last, self._last, self._changes = self._last, None, 0
        self.sql_changes.has_other_users = False
        former, parts = context, NODE_PARTS
        if not full and last is not None:
            former, parts = last[0], affected(last[0], context)
        parts = tuple(
            part for part in parts if part.is_on(context) and not (ends is not None and part is SWITCHING)
        )
        # What a node does not do now that it will do later, or another one, is ahead of it.
        has_all = not context.kinds.isdisjoint({NodeKind.WRITER, NodeKind.REPLICA})
        self.progress.begin(revision, [part.name for part in (parts if has_all else NODE_PARTS)])
        if context.kinds != self._kinds:
            self._kinds, self.seen = context.kinds, self.seen | _SETTLED
        # What was refused in a pass that ended before its report.
        seen = self._inspector.last_refused(context.server)
        informed = replace(
            context,
            refused=refused_settings.refused(context.cluster, context.refused, seen),
            by_sql=self.sql_changes.last(context),
        )
        try:
            await self._reconcile_all(parts, informed, session, ends or (lambda: False))
        except Waiting:
            self.progress.waits()
            if ends is None:
                self._preparing.waited(context, self.seen.get("ready_for"))
            raise
        except (CenoteError, OSError):
            # A user is locked out also while something else, such as the pooler, fails.
            with contextlib.suppress(CenoteError, OSError):
                await self._look_for_drops(context, session)
            raise
        if self.has_drops or ROLES in parts or former.cluster.removing != context.cluster.removing:
            await self._look_for_drops(context, session)
        if last is not None and all(part.name is not PartName.SERVER for part in parts):
            converged = replace(last[1], settled=False)
        else:
            converged = await self._converged(informed, session)
            converged = replace(converged, settled=full and not self._changes)
        if not (context.is_restoring or NodeKind.AWAITING in context.kinds):  # clients are let in now
            self.seen = self.seen | {"restored": None}
        if NodeKind.REPLICA not in context.kinds:  # it takes writes now
            self.seen = self.seen | {"copy": 0}
        self._last = context, converged
        self._preparing.tried(context, remains=self.has_drops)
        return converged

    async def _look_for_drops(self, context: NodeContext, session: Session) -> None:
        self.has_drops = False
        self.has_drops = NodeKind.WRITER in context.kinds and await self.drops.look(context, session)

    async def _reconcile_all(
        self,
        parts: Collection[Part[Any]],
        context: NodeContext,
        session: Session,
        ends: Callable[[], bool],
    ) -> None:
        failure: CenoteError | None = None
        looks = ROLES in parts or NodeKind.REPLICA in context.kinds
        for part in parts:
            if ends():
                raise Waiting("the pools are to be held")
            if part is POOLER and (looks or not self.sql_changes.covers(context)):
                context = replace(context, by_sql=await self.sql_changes.look(context, session))
            try:
                await self._reconcile(part, context, session)
            except OSError as error:
                if not part.optional:
                    raise
                log.warning("cluster %s: %s: %s", context.in_words, part.name, error)
            except CenoteError as error:
                if not part.may_block:
                    raise
                failure = failure or error
                self.progress.failed(part.name, str(error))
                continue
            self.progress.done(part.name)
        if ROLES in parts and POOLER not in parts:
            await self.sql_changes.look(context, session)  # for the report
        if failure is not None:
            raise failure

    def has_found(self, last: NodeStatus) -> bool:
        """Return whether something was found for the record to adopt that the last report does not say."""
        return "found" in self.seen and self.seen["found"] != last.found

    async def plan(self, context: NodeContext, session: Session) -> list[Change]:
        """Return the changes that a pass would make, of all parts (a dry run)."""
        changes: list[Change] = []
        context = replace(context, by_sql=await self.sql_changes.look(context, session))
        for part in NODE_PARTS:
            if part.is_on(context):
                changes += part.plan(context, await part.look(self._inspector, context, session))
        if NodeKind.WRITER in context.kinds:
            for step in DROP_PARTS:
                for drop in step.plan(context, await step.look(self._inspector, context, session)):
                    changes += drop.changes
        return changes

    async def remove(self, context: NodeContext, session: Session, note: TrashNote | None = None) -> None:
        """Stop and remove the node, whatever state it is in; with a note, its data goes to the trash."""
        seen = look.removal.look(context)
        for change in plan.removal.plan(context, seen, note):
            await self._do(change, context, session)

    async def _reconcile(self, part: Part[Any], context: NodeContext, session: Session) -> None:
        seen = await part.look(self._inspector, context, session)
        self.seen |= part.report_of(context, seen)
        for change in part.plan(context, seen):
            if isinstance(change, Start) and not part.starts_again:
                await self._check_not_failing(part, change, context)
            elif isinstance(change, Stop):
                self._started.discard((part.name, change.program.name))
            await self._do(change, context, session)
            if (note := part.event_of(change)) is not None:
                self.notes[note.what] = note
        self._started = {one for one in self._started if one[0] != part.name}

    async def _do(self, change: Change, context: NodeContext, session: Session) -> None:
        if isinstance(change, Wait):
            self.seen = {**self.seen, **change.now}
            raise Waiting(change.reason, often=change.often, at_once=change.at_once)
        if isinstance(change, Refuse):
            raise CenoteError(change.reason)
        log.info("cluster %s: %r", context.in_words, change)
        self._changes += 1
        # Concurrent copies slow each other down, so their number is limited; no other change waits for other
        # clusters.
        async with self._copying if isinstance(change, CopyTemplate) else contextlib.nullcontext():
            await self._executor.do(change, session)

    async def _converged(self, context: NodeContext, session: Session) -> Converged:
        found = look.loaded.look(context.server)
        configuration = files.read(plan.postgresql.configuration_file(context))
        if NodeKind.MANAGED in context.kinds:
            pending = await look.managed_restart.waiting(self._inspector, context, session)
        else:
            pending = await self._inspector.pending_restart(context.server, found, session)
        return Converged(
            settings=await self._inspector.settings_in_force(context.server, found, session),
            not_in_force=restarts.urgencies(context.cluster, pending),
            outdated=tuple((await look.outdated_binaries.look(self._inspector, context, session)).outdated),
            use=await look.postgresql.disk_use(self._inspector, context),
            refuses_writes=plan.postgresql.refuses_writes(configuration),
            limits=parameters.limits(await self._inspector.limits(context.server, found.process, session)),
            refused=refused_settings.refused(
                context.cluster,
                context.refused,
                await self._inspector.refused(context.server, found, session),
            ),
            certificate_problem=look.certificate.problem(context),
        )

    async def _check_not_failing(self, part: Part[Any], start: Start, context: NodeContext) -> None:
        """Refuse to restart a program that ended right after its last start; its log has the reason.

        If PostgreSQL ended for the sake of settings, the next start is made without these.
        """
        started = part.name, start.program.name
        if started in self._started:
            self._started.discard(started)
            if start.program == context.server:
                chosen = refused_settings.written(context.cluster, context.refused)
                refused = await self._executor.refused_settings(context.server, chosen)
                self._inspector.note_refused(context.server, refused)
            raise CenoteError(f"{start.program.name} does not start: {_failure_reason(start)}")
        self._started.add(started)


def _failure_reason(start: Start) -> str:
    if full := system.full_disk(start.program.directory):
        return full
    log_file = start.program.log
    if start.program.name == PATRONI:
        log_file = start.program.directory / PATRONI_LOG
    said = files.tail(log_file)
    if start.program.name == BASE_BACKUP:
        said = plan.base_backup.why_ended(said)
    return said or "its log is empty"


def session_of(context: NodeContext, lock_milliseconds: int = LOCK_MILLISECONDS) -> Session:
    """Return a session for the servers of a node; it connects at its first use."""
    node = context.node
    return Session(
        context.cluster_paths.sockets, node.port, node.pool_port, lock_milliseconds=lock_milliseconds
    )
