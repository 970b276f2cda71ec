"""A part of a node: what it looks at, what it plans, and where it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.engine.plan.events import no_event
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.changes import Change, DropPlan, Plan
from cenote.model.event_records import Note

Seen = TypeVar("Seen")


def _nothing(_context: NodeContext, _seen: object) -> Mapping[str, object]:
    return {}


class Scope(StrEnum):
    """What there is one of: for each node of a cluster, or for each host that has nodes of it."""

    NODE = "node"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Part(Generic[Seen]):
    """One part of a node.

    ``runs_on``: the kinds of nodes that have it, none for all but those in ``not_on``.  ``may_block``: it may
    wait for a customer's lock, so its failure does not stop later parts, but the pass fails.  ``optional``:
    the machine's refusal is logged, and the pass continues.  ``starts_again``: what it starts ends by itself,
    so that another start says nothing of a failure.  ``event_of``: the event that a change of it is
    worth, if any.  ``report_of``: the fields of a report that what it has seen is worth.
    """

    name: str
    look: Callable[[Inspector, NodeContext, Session], Awaitable[Seen]]
    plan: Callable[[NodeContext, Seen], Plan]
    scope: Scope = Scope.NODE
    runs_on: tuple[NodeKind, ...] = ()
    not_on: tuple[NodeKind, ...] = ()
    may_block: bool = False
    optional: bool = False
    starts_again: bool = False
    event_of: Callable[[Change], Note | None] = no_event
    report_of: Callable[[NodeContext, Seen], Mapping[str, object]] = _nothing

    def is_on(self, context: NodeContext) -> bool:
        if not context.kinds.isdisjoint(self.not_on):
            return False
        if self.scope is Scope.HOST and not context.is_first_here:
            return False
        return not self.runs_on or not context.kinds.isdisjoint(self.runs_on)


@dataclass(frozen=True, slots=True)
class DropPart(Generic[Seen]):
    """One step of dropping what was removed from the record, on the writer."""

    name: str
    look: Callable[[Inspector, NodeContext, Session], Awaitable[Seen]]
    plan: Callable[[NodeContext, Seen], DropPlan]
