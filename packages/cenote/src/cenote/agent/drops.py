"""Dropping the users and databases that were removed from the record, after the pass over their node.

Each has its own failure, and its own time of the next attempt: what a customer's lock or session holds up
holds up no other drop, and no change of the record.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from cenote.engine import look
from cenote.engine.parts import DROP_PARTS
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.ledger import OPENED, Ledger
from cenote.errors import CenoteError
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.changes import Change, Drop
from cenote.model.records import RemovalKind

log = logging.getLogger(__name__)

LOCK_MILLISECONDS = 500  # a change of the record waits for a drop that waits for a lock
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0  # seconds between attempts to drop one thing
MOST_REASONS = 3  # in the reason of the cluster; each removal has its own
HURRY_SECONDS = 0.25  # of drops, when a change of the record is waiting

Thing: TypeAlias = tuple[RemovalKind, str]


@dataclass(frozen=True, slots=True)
class _Failed:
    reason: str
    pause: float
    next_attempt: float  # monotonic


class Drops:
    """The drops of one node, and what has become of them."""

    def __init__(self, do: Callable[[Change, NodeContext, Session], Awaitable[None]]) -> None:
        self._do = do
        self._inspector = Inspector()
        self._failed: dict[Thing, _Failed] = {}
        self.seen: dict[str, object] = {}  # fields of a report; none before the first look
        self.reason = ""

    async def look(self, context: NodeContext, session: Session) -> bool:
        """See what has become of the removals; return whether there is something to drop."""
        found = await look.ledger.look(session, context.cluster)
        left = set(_leftover(context, found))
        opened = {(RemovalKind.DATABASE, name) for name in found.of(OPENED)}
        self._failed = {thing: failed for thing, failed in self._failed.items() if thing in left | opened}
        removing = context.cluster.removing
        # What is no longer in the ledger was dropped.
        gone = tuple(one.id for one in removing if (one.kind, one.name) not in left)
        remaining = {
            str(one.id): self._failed[one.kind, one.name].reason
            for one in removing
            if (one.kind, one.name) in self._failed
        }
        self.seen = {"gone": gone, "remaining": remaining}
        reasons = [
            f"{kind} {name!r} is not removed yet: {failed.reason}"
            for (kind, name), failed in sorted(self._failed.items())
            if (kind, name) in left
        ]
        more = [f"{len(reasons) - MOST_REASONS} more"] if len(reasons) > MOST_REASONS else []
        self.reason = "; ".join(reasons[:MOST_REASONS] + more)
        return bool(left or opened)

    async def run(
        self, context: NodeContext, session: Session, is_urgent: Callable[[], bool] = lambda: False
    ) -> float | None:
        """Drop what is to be dropped; return the seconds until the next attempt, None if nothing is left.

        It ends early when something more urgent is to be done.
        """
        began = time.monotonic()
        cut_short = await self._attempt_all(
            context, session, lambda: is_urgent() and time.monotonic() > began + HURRY_SECONDS
        )
        if not await self.look(context, session):
            return None
        next_attempts = [failed.next_attempt for failed in self._failed.values()]
        if cut_short:
            return 0.0
        return max(0.0, min(next_attempts) - time.monotonic()) if next_attempts else FIRST_PAUSE

    async def _attempt_all(
        self, context: NodeContext, session: Session, must_end: Callable[[], bool]
    ) -> bool:
        """Make all attempts that are due; return whether some are left."""
        postponed = {
            thing for thing, failed in self._failed.items() if failed.next_attempt > time.monotonic()
        }
        for part in DROP_PARTS:
            for drop in part.plan(context, await part.look(self._inspector, context, session)):
                thing = drop.kind, drop.name
                if thing in postponed:
                    continue
                if must_end():
                    return True
                if not await self._attempt(drop, context, session):
                    postponed.add(thing)
        return False

    async def _attempt(self, drop: Drop, context: NodeContext, session: Session) -> bool:
        try:
            for change in drop.changes:
                await self._do(change, context, session)
        except CenoteError as error:
            thing = drop.kind, drop.name
            before = self._failed.get(thing)
            pause = FIRST_PAUSE if before is None else min(before.pause * 2, LONGEST_PAUSE)
            if before is None or before.reason != str(error):
                log.warning("cluster %s: %s %s remains: %s", context.in_words, *thing, error)
            self._failed[thing] = _Failed(str(error), pause, time.monotonic() + pause)
            return False
        return True


def _leftover(context: NodeContext, found: Ledger) -> Iterable[Thing]:
    return ((kind, name) for kind in RemovalKind for name in found.leftover(context.cluster, kind))
