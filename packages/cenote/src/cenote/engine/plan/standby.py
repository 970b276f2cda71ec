"""A server that follows another node: how far it is.

There is nothing to bring about but to wait: the configuration is that of the part PostgreSQL, and what comes
next, a switch or the end of a move, is a change of the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Plan, Wait
from cenote.model.records import MoveStage, Standby

CLOSE = 8 * 2**20  # bytes of WAL that it may lack and still count as streaming


@dataclass(frozen=True, slots=True)
class Seen:
    """``receiving``: WAL comes in; ``behind``: bytes that the other server had written and this one lacks."""

    receiving: bool
    replayed: int
    behind: int = 0

    @property
    def streaming(self) -> bool:
        return self.receiving and self.behind <= CLOSE


def plan(context: NodeContext, seen: Seen) -> Plan:
    move, name = context.cluster.move, "the primary" if context.peer is None else context.peer.node.name
    often = move is not None and move.stage is MoveStage.SWITCHING
    if seen.streaming:
        yield Wait(f"following {name}", often=often)
    elif seen.receiving:
        yield Wait(f"catching up with {name}, {seen.behind // 2**20} MiB behind", often=often)
    else:
        yield Wait(f"not connected to {name}", often=often)


def report(_context: NodeContext, seen: Seen) -> Mapping[str, object]:
    return {"standby": Standby(streaming=seen.streaming, replayed=seen.replayed)}
