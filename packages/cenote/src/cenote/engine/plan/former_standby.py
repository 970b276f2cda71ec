"""A node of several while another one is upgraded to another major version, and after it.

Its server is stopped, and its data stay until the upgrade is decided: should that be refused, it goes on
with them.  After it they are of no use, since no server follows one of another version; they are removed,
and copied anew, once another node takes writes under Patroni: until then it may be that no other data are
left.  The record says so, by the system identifier that all data are to have, and not their version: so data
of a former attempt are told, too.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.model import topology
from cenote.model.changes import EndProcesses, Plan, Remove, Stop, Wait
from cenote.model.records import UpgradeStep
from cenote.model.status_records import UpgradeReport

RESTING = "resting"


@dataclass(frozen=True, slots=True)
class Seen:
    """``managed``: Patroni works, ``running``: PostgreSQL does.  ``system``: see ``UpgradeReport``."""

    managed: bool = False
    running: bool = False
    system: str = ""


def plan(context: NodeContext, seen: Seen) -> Plan:
    if NodeKind.RESTING in context.kinds:
        yield from _stop(context, seen)
    elif is_former(context, seen):
        yield from _stop(context, seen)
        if context.agreed.leader in (None, context.node.name):
            yield Wait("its data are from before an upgrade, and no upgraded node takes writes yet")
        yield EndProcesses(context.paths.data)
        yield Remove(context.paths.data)


def plan_to_rest(context: NodeContext, _seen: Seen) -> Plan:
    """Wait, after all other parts: no server of the node can be asked for more."""
    yield Wait(f"stopped while {topology.upgraded_alone(context.cluster)} is upgraded")


def is_former(context: NodeContext, seen: Seen) -> bool:
    """Return whether a node's data are from before an upgrade that was made."""
    mark = context.cluster.major_upgrade
    if mark is None or mark.step is not UpgradeStep.REJOINING or not mark.system:
        return False
    return context.node.name != mark.node and seen.system not in ("", mark.system)


def report(context: NodeContext, seen: Seen) -> Mapping[str, object]:
    mark = context.cluster.major_upgrade
    if mark is None or NodeKind.RESTING not in context.kinds:
        return {}
    stage = "" if seen.managed or seen.running else RESTING
    return {"major_upgrade": UpgradeReport(asked_at=mark.asked_at, stage=stage, system=seen.system)}


def _stop(context: NodeContext, seen: Seen) -> Plan:
    if seen.managed:
        yield Stop(replace(context.failover_agent, stop_signal=signal.SIGKILL))
    if seen.running:
        yield Stop(context.server)
