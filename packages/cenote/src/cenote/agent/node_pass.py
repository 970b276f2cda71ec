"""One pass over a node: look, plan and do, part by part.

A pass leaves nothing behind that the next one needs: what it must remember between two passes is only which
parts have just started a program, and which events are still to be written.
"""

from __future__ import annotations

import contextlib
import logging
from asyncio import Semaphore
from dataclasses import dataclass
from typing import Any

from cenote.engine import look, plan
from cenote.engine.part import Part
from cenote.engine.parts import NODE_PARTS
from cenote.engine.plan.context import NodeContext
from cenote.errors import CenoteError
from cenote.host import files, system
from cenote.host.executor import Executor
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.changes import Change, CopyTemplate, Start, Stop, Wait
from cenote.model.records import Note
from cenote.rules.storage import Use

log = logging.getLogger(__name__)

TOO_FULL = 32  # MiB; PostgreSQL needs two segments of its write-ahead log to get anywhere


class Waiting(Exception):
    """A plan has come to a point where only time helps."""


@dataclass(frozen=True, slots=True)
class Converged:
    """A node on which nothing is left to do: what its server runs on, and how full its storage is.

    ``outdated`` names the programs that were replaced since they were started.
    """

    settings: dict[str, str]
    outdated: tuple[str, ...]
    use: Use | None
    refuses_writes: bool


class NodePass:
    """Makes passes over one node."""

    def __init__(self, executor: Executor, copying: Semaphore) -> None:
        self._executor, self._copying = executor, copying
        self._inspector = Inspector()
        self._started: set[str] = (
            set()
        )  # parts that have started a program and not been seen to be done since
        self.notes: dict[str, Note] = {}  # events of what was done, until they are written

    async def run(self, context: NodeContext, session: Session) -> Converged:
        """Do all that is needed.

        Raises Waiting where only time helps, and CenoteError or OSError for what the machine refuses.
        """
        failure: CenoteError | None = None
        for part in NODE_PARTS:
            try:
                if part.is_on(context):
                    await self._bring_about(part, context, session)
            except OSError as error:
                if not part.optional:
                    raise
                log.warning("cluster %s: %s: %s", context.cluster.name, part.name, error)
            except CenoteError as error:
                if not part.may_block:
                    raise
                failure = failure or error
        if failure is not None:
            raise failure
        return await self._converged(context, session)

    async def plan(self, context: NodeContext, session: Session) -> list[Change]:
        """Return what a pass would do, of every part, without doing any of it."""
        changes: list[Change] = []
        for part in NODE_PARTS:
            if part.is_on(context):
                changes += part.plan(context, await part.look(self._inspector, context, session))
        return changes

    async def remove(self, context: NodeContext, session: Session) -> None:
        """Stop and remove the node, whatever state it is in."""
        for change in plan.removal.plan(context, look.removal.look(context)):
            await self._do(change, context, session)

    async def _bring_about(self, part: Part[Any], context: NodeContext, session: Session) -> None:
        for change in part.plan(context, await part.look(self._inspector, context, session)):
            if isinstance(change, Start):
                self._admit(part, change)
            elif isinstance(change, Stop):
                self._started.discard(part.name)
            await self._do(change, context, session)
            if (note := part.event_of(change)) is not None:
                self.notes[note.what] = note
        self._started.discard(part.name)

    async def _do(self, change: Change, context: NodeContext, session: Session) -> None:
        if isinstance(change, Wait):
            raise Waiting(change.reason)
        log.info("cluster %s: %r", context.cluster.name, change)
        # Copies would slow each other down; everything else waits for its own cluster only.
        async with self._copying if isinstance(change, CopyTemplate) else contextlib.nullcontext():
            await self._executor.do(change, session)

    async def _converged(self, context: NodeContext, session: Session) -> Converged:
        found = look.loaded.look(context.server)
        configuration = files.read(plan.server.configuration_file(context))
        return Converged(
            settings=await self._inspector.settings_in_force(
                context.server, found.process, found.digest, session
            ),
            outdated=tuple((await look.outdated_binaries.look(self._inspector, context, session)).outdated),
            use=await look.server.disk_use(self._inspector, context),
            refuses_writes=plan.server.refuses_writes(configuration),
        )

    def _admit(self, part: Part[Any], start: Start) -> None:
        """Refuse to start again what has just ended: it would do so once more, with the reason in its log."""
        if part.name in self._started:
            self._started.discard(part.name)
            raise CenoteError(f"{start.program.name} does not start: {_why(start)}")
        self._started.add(part.name)


def _why(start: Start) -> str:
    free = system.free_mib(start.program.directory)
    if free < TOO_FULL:
        return f"its disk is full ({free} MiB are free)"
    return files.tail(start.program.log) or "it left no log"
