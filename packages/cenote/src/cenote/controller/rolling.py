"""The next step of a rolling restart, as a change of the record.  Pure.

Which node is next says ``rules/rolling.py``.  The turn of a standby stands in the record until it is
restarted and follows again; the writer's is a planned switch, which ``switches.py`` leads on.  So whoever
takes over finds what is under way.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from cenote.controller.switches import Step
from cenote.errors import Busy
from cenote.model.records import Cluster, RestartTurn, Switchover
from cenote.model.topology import has_standbys
from cenote.rules import rolling, switches
from cenote.rules.rolling import How, Look


def step(cluster: Cluster, look: Look, now: datetime) -> Step | None:
    """Return what the record becomes next, None while something is waited for or nothing is to be done."""
    turn = cluster.restart_turn
    if turn is not None:
        if not rolling.is_over(cluster, look) and has_standbys(cluster):
            return None
        return Step(replace(cluster, restart_turn=None), f"{turn.node} need not be restarted any more")
    if cluster.switchover is not None or not is_wanted(cluster, look) or rolling.hindrance(cluster, look):
        return None
    found = rolling.chosen(cluster, look)
    if found is None:
        return None
    node, how = found
    why = f"{node} is to be restarted, for {rolling.due(cluster, look)[node].in_words}"
    match how:
        case How.STANDBY:
            return Step(replace(cluster, restart_turn=RestartTurn(node=node, since=now)), why)
        case How.IN_PLACE:
            switch = Switchover(
                source=node,
                target=node,
                asked_at=now,
                until=now.replace(microsecond=0) + timedelta(seconds=rolling.SWITCH_SECONDS),
                since=now,
                reason=why,
            )
            return Step(replace(cluster, switchover=switch), why)
        case How.SWITCH:
            return _switch(cluster, look, why, now)


def is_wanted(cluster: Cluster, look: Look) -> bool:
    """Return whether a node is to be restarted, at this moment or when nothing is in the way any more."""
    is_settled = cluster.major_upgrade is None and cluster.restoration is None
    return has_standbys(cluster) and is_settled and bool(rolling.due(cluster, look))


def _switch(cluster: Cluster, look: Look, why: str, now: datetime) -> Step | None:
    try:
        begun = switches.begun(cluster, look.leader, look.reports, now, seconds=rolling.SWITCH_SECONDS)
    except Busy:
        return None
    assert begun.switchover is not None
    return Step(replace(begun, switchover=replace(begun.switchover, reason=why)), why)
