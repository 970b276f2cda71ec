"""The preparation of a planned switch on the node that takes writes: a checkpoint.

It ends behind held pools, so whatever it has to write then is time that clients wait.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.ending import CHECKPOINT, RECENT
from cenote.model.changes import Plan, Sql, Wait
from cenote.model.records import Switchover, SwitchStage


@dataclass(frozen=True, slots=True)
class Seen:
    """``checkpointed``: the seconds since a checkpoint has ended; ``running``: there is a server to ask."""

    running: bool = False
    checkpointed: float = math.inf

    @property
    def is_ready(self) -> bool:
        return self.running and 0 <= self.checkpointed <= RECENT


def plan(context: NodeContext, seen: Seen) -> Plan:
    switch = asked(context)
    if switch is None or not seen.running:
        return
    if not seen.is_ready:
        yield Sql(SUPERUSER, "writing a checkpoint", CHECKPOINT, atomic=False)
        yield Wait("a checkpoint is written", often=True)
    yield Wait(f"ready for {switch.target} to take over", at_once=True)


def asked(context: NodeContext) -> Switchover | None:
    """Return the switch that this node is to prepare."""
    switch = context.cluster.switchover
    if switch is None or switch.stage is not SwitchStage.PREPARING:
        return None
    return switch if context.node.name == switch.source == context.leader else None


def report(context: NodeContext, seen: Seen) -> Mapping[str, object]:
    switch = asked(context)
    return {"ready_for": switch.attempt if switch is not None and seen.is_ready else ""}
