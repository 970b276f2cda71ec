"""The replication slots that a server has for those that follow it: they keep the WAL that is still wanted.

One that nobody needs any more would keep it until the disk is full.  Only physical slots with our names are
ever dropped.  The logical ones are the customer's, and no standby has them, so they are reported.  One that
has lost WAL stays, to be reported: the copy that needs it cannot go on, whatever is done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from psycopg.sql import SQL, Literal

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.model.changes import Plan, Sql

MOST_REPORTED = 20  # logical slots

_PATRONIS = re.compile(r"node_[0-9]+")  # what Patroni calls the slots of our nodes
_OURS = re.compile(r"cenote_[a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Slot:
    """``pid`` is of the sender that uses it, 0 without one; ``lost``: WAL that it should keep is gone."""

    name: str
    logical: bool = False
    pid: int = 0
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    slots: tuple[Slot, ...] = ()


def plan(context: NodeContext, seen: Seen) -> Plan:
    wanted = [*filter(None, [wanted_slot(context)]), *(one.slot for one in context.replicas)]
    ours = [slot for slot in seen.slots if not slot.logical and _OURS.fullmatch(slot.name)]
    for slot in ours:
        if slot.name not in wanted:
            end = [SQL("SELECT pg_terminate_backend({}, 5000)").format(Literal(slot.pid))] if slot.pid else []
            # Patroni, where it runs the server, may be faster.
            drop = SQL(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {}"
            ).format(Literal(slot.name))
            yield Sql(SUPERUSER, f"dropping the slot {slot.name}", (*end, drop), atomic=False)
    if NodeKind.MANAGED in context.kinds:
        return  # Patroni makes those that stand in its configuration, on all nodes
    for name in wanted:
        if not any(slot.name == name for slot in ours):
            make = SQL("SELECT pg_create_physical_replication_slot({}, true)").format(Literal(name))
            yield Sql(SUPERUSER, f"making the slot {name}", (make,), atomic=False)


def is_patronis(name: str) -> bool:
    return bool(_PATRONIS.fullmatch(name))


def is_ours(name: str) -> bool:
    """Return whether a slot has a name that only we give."""
    return _OURS.fullmatch(name) is not None


def wanted_slot(context: NodeContext) -> str:
    """Return the name of the slot for the node that follows this one; "" if none does."""
    move = context.cluster.move
    if move is None or context.peer is None or context.node.name != move.source:
        return ""
    return context.host.layout.node(context.cluster.id, context.peer.node.name).slot


def report(context: NodeContext, seen: Seen) -> Mapping[str, object]:
    names = sorted(slot.name for slot in seen.slots if slot.logical)
    wanted = wanted_slot(context)
    is_lost = any(slot.name == wanted and slot.lost for slot in seen.slots if not slot.logical)
    lost = {slot.name for slot in seen.slots if slot.lost and not slot.logical}
    return {
        "logical_slots": tuple(names[:MOST_REPORTED]),
        "slot_lost": is_lost,
        "lost_slots": tuple(one.slot for one in context.replicas if one.slot in lost),
    }
