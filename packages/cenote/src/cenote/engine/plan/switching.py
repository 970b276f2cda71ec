"""The preparation of a planned switch on the node that takes writes: a checkpoint.

It ends behind held pools, so whatever it has to write then is time that clients wait.  One that is to write
on is restarted behind them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan import managed_restart, replication
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.ending import CHECKPOINT, RECENT
from cenote.model.changes import Plan, Sql, Wait
from cenote.model.records import Cluster, Switchover, SwitchStage


@dataclass(frozen=True, slots=True)
class Seen:
    """``checkpointed``: the seconds since a checkpoint has ended; ``running``: there is a server to ask.

    ``restart`` is what that says of a restart, where it is to be restarted in its place, and else
    ``following`` which nodes follow it: a pass ends here, and an agent that has just started knows of none.
    """

    running: bool = False
    checkpointed: float = math.inf
    restart: managed_restart.Seen | None = None
    following: replication.Seen | None = None

    @property
    def is_ready(self) -> bool:
        return self.running and 0 <= self.checkpointed <= RECENT


def plan(context: NodeContext, seen: Seen) -> Plan:
    if to_restart(context) is not None:
        yield from _restart(context, seen)
    switch = asked(context)
    if switch is None or not seen.running:
        return
    if not seen.is_ready:
        yield Sql(SUPERUSER, "writing a checkpoint", CHECKPOINT, atomic=False)
        yield Wait("a checkpoint is written", often=True)
    ready = "ready for the restart" if switch.in_place else f"ready for {switch.target} to take over"
    yield Wait(ready, at_once=True)


def _restart(context: NodeContext, seen: Seen) -> Plan:
    if seen.restart is not None:
        found = managed_restart.pending(context, seen.restart)
        if found is None:
            yield Wait("PostgreSQL was restarted", at_once=True)
        else:
            yield managed_restart.change(context, found)
    yield Wait("PostgreSQL is restarting", often=True)


def to_restart(context: NodeContext) -> Switchover | None:
    """Return the switch for which this node is to be restarted, with all pools held."""
    switch = context.cluster.switchover
    if switch is None or not switch.in_place or switch.stage is not SwitchStage.SWITCHING:
        return None
    return switch if context.node.name == switch.source == context.leader else None


def asked(context: NodeContext) -> Switchover | None:
    """Return the switch that this node is to prepare."""
    return asked_of(context.cluster, context.node.name, context.leader)


def asked_of(cluster: Cluster, node_name: str, leader: str | None) -> Switchover | None:
    """Return the switch that a node is to prepare, while the store says which one leads."""
    switch = cluster.switchover
    if switch is None or switch.stage is not SwitchStage.PREPARING:
        return None
    return switch if node_name == switch.source == leader else None


def report(context: NodeContext, seen: Seen) -> Mapping[str, object]:
    switch = asked(context)
    found: dict[str, object] = {
        "ready_for": switch.attempt if switch is not None and seen.is_ready else "",
        "restarted_for": "",
    }
    if seen.following is not None:
        found |= replication.report(context, seen.following)
    restart = to_restart(context)
    if restart is not None and seen.restart is not None:
        left = managed_restart.pending(context, seen.restart)
        found |= {"restart": left, "restarted_for": "" if left else restart.attempt}
    return found
