"""A server that follows another node: how far it is.

Its configuration is that of the part PostgreSQL, and what comes next, a switch or the end of a move, is a
change of the record.  It is restarted for settings that need it, as the other server is: with less than that
one of some of them, PostgreSQL pauses the replay, while WAL still arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Plan, Stop, Wait
from cenote.model.records import MoveStage
from cenote.model.status_records import Standby
from cenote.rules import restarts
from cenote.rules.restarts import Urgency

CLOSE = 8 * 2**20  # bytes of WAL that it may lack and still count as streaming

# What a server says of its attempts to follow when the other one has not kept the WAL for it.
_GONE = ("has already been removed", "has been invalidated", "cannot read from replication slot")


@dataclass(frozen=True, slots=True)
class Seen:
    """``receiving``: WAL comes in; ``behind``: bytes that the other server had written and this one lacks.

    ``paused``: it replays nothing.  ``pending``: the settings that wait for a restart, and ``raised`` those
    that it needs to have more of than the record asks for, until it has replayed a restart of the other
    server; both with the values in force.
    """

    receiving: bool
    replayed: int
    behind: int = 0
    paused: bool = False
    pending: Mapping[str, str] = field(default_factory=dict)
    raised: Mapping[str, str] = field(default_factory=dict)

    @property
    def streaming(self) -> bool:
        return self.receiving and not self.paused and self.behind <= CLOSE


def lacks_wal(said: str) -> bool:
    """Return whether the last messages of a server say that it can never follow the other one again."""
    return any(words in said for words in _GONE)


def plan(context: NodeContext, seen: Seen) -> Plan:
    move, name = context.cluster.move, "the primary" if context.peer is None else context.peer.node.name
    often = move is not None and move.stage is MoveStage.SWITCHING
    if not often and _is_due(context, seen.pending):
        yield Stop(context.server)  # nobody uses it; the part PostgreSQL starts it
        yield Wait(f"PostgreSQL is restarting, for {', '.join(seen.pending)}")
    if seen.streaming:
        yield Wait(f"following {name}", often=often)
    elif seen.paused:
        yield Wait("PostgreSQL has paused its replay of the changes; see its log", often=often)
    elif seen.receiving:
        yield Wait(f"catching up with {name}, {seen.behind // 2**20} MiB behind", often=often)
    else:
        yield Wait(f"not connected to {name}", often=often)


def report(context: NodeContext, seen: Seen) -> Mapping[str, object]:
    # A restart once it has taken over would disconnect the clients that the other host's pooler leads to it.
    streaming = seen.streaming and not _is_due(context, {**seen.pending, **seen.raised})
    return {"standby": Standby(streaming=streaming, replayed=seen.replayed)}


def _is_due(context: NodeContext, settings: Mapping[str, str]) -> bool:
    return Urgency.NOW in restarts.urgencies(context.cluster, settings).values()
