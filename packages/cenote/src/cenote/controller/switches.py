"""A planned switch of a cluster with several nodes: what its record becomes next, by what is reported.  Pure.

PREPARING → HOLDING when the writer has written a checkpoint, the other node follows closely and no
transaction in a pool has been open for long; → SWITCHING
when all poolers hold their pools; over as soon as another node takes writes.  Back to PREPARING, with a pause
that grows, when the pools could not be held together in time, so that nobody is held for long; given up at
the switch's own deadline.  Which node takes writes is Patroni's word alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from cenote.model.event_records import EventType, Note
from cenote.model.records import Cluster, Switchover, SwitchStage
from cenote.model.status_records import NodeStatus
from cenote.rules import switch_progress

HOLD_SECONDS = 1.0  # in which all poolers have to hold their pools
SWITCH_SECONDS = 15.0  # in which the other node has to take writes
REFUSAL_SECONDS = 0.3  # between two looks whether Patroni has refused
PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0)  # seconds before each attempt


@dataclass(frozen=True, slots=True)
class Step:
    """The record as it shall be, why, and the event that tells of it."""

    cluster: Cluster
    reason: str
    event: Note | None = None


def step(
    cluster: Cluster,
    leader: str | None,
    reports: Mapping[str, NodeStatus],
    alive: Collection[str],
    *,
    waited: float,
    now: datetime,
    refused: bool = False,
    asked: bool = False,
) -> Step | None:
    """Return what the record becomes next, None while something is waited for.

    ``alive`` are the hosts whose agents answer; ``waited`` are the seconds since the stage began.
    ``refused``: Patroni has dropped what it was asked for, and the writer is the same.  ``asked``: it was
    asked already, and the record could not be written.
    """
    switch = cluster.switchover
    if switch is None or cluster.deleted_at is not None:
        return None
    if leader is not None and leader != switch.source:
        return Step(replace(cluster, switchover=None), f"{leader} takes writes")
    if switch.in_place and _is_restarted(switch, reports):
        return Step(replace(cluster, switchover=None), f"{switch.source} was restarted")
    names = {node.name for node in cluster.nodes}
    if not {switch.source, switch.target} <= names:
        return _given_up(cluster, switch, "one of its nodes was removed")
    if now >= switch.until and switch.stage is not SwitchStage.SWITCHING:
        return _given_up(cluster, switch, switch_progress.waits_for(cluster, leader, reports, alive))
    match switch.stage:
        case SwitchStage.PREPARING:
            return _prepared(cluster, switch, reports, alive, waited, now)
        case SwitchStage.HOLDING:
            if asked or not switch_progress.not_held(cluster, switch, reports, alive):
                return _next(cluster, switch, SwitchStage.SWITCHING, "all pools are held", now)
            if waited > HOLD_SECONDS:
                return _again(cluster, switch, "the pools could not be held together", now)
        case SwitchStage.SWITCHING:
            if refused:
                return _again(cluster, switch, f"Patroni has refused {switch.target}", now)
            if leader is not None and waited > SWITCH_SECONDS:
                hitch = "was not restarted in time" if switch.in_place else "did not take over"
                return _again(cluster, switch, f"{switch.target} {hitch}", now)
    return None


def wakes_after(switch: Switchover) -> float:
    """Return after how many seconds time alone may lead on."""
    match switch.stage:
        case SwitchStage.PREPARING:
            return _pause(switch) or 0.2
        case SwitchStage.HOLDING:
            return HOLD_SECONDS
        case SwitchStage.SWITCHING:
            return REFUSAL_SECONDS


def is_asked_for(cluster: Cluster, asked: str | None) -> bool:
    """Return whether Patroni may still carry out a switch; ``asked`` is the attempt that it was told of last.

    Otherwise what it was asked for has to go, or a later failover would follow it.
    """
    switch = cluster.switchover
    if switch is None or switch.in_place:
        return False
    return switch.stage is SwitchStage.SWITCHING or asked == switch.attempt


def waits_for_standbys(switch: Switchover, reports: Mapping[str, NodeStatus]) -> bool:
    """Return whether commits wait for standbys, so that Patroni knows which of them lack nothing."""
    return not switch.in_place and switch.source in reports and bool(reports[switch.source].quorum)


def _is_restarted(switch: Switchover, reports: Mapping[str, NodeStatus]) -> bool:
    return switch.source in reports and reports[switch.source].restarted_for == switch.attempt


def _prepared(
    cluster: Cluster,
    switch: Switchover,
    reports: Mapping[str, NodeStatus],
    alive: Collection[str],
    waited: float,
    now: datetime,
) -> Step | None:
    if waited < _pause(switch) or switch_progress.hindrance(cluster, switch, reports, alive):
        return None
    return _next(cluster, switch, SwitchStage.HOLDING, "its pools are to be held", now)


def _pause(switch: Switchover) -> float:
    return PAUSES[min(switch.tries, len(PAUSES) - 1)]


def _next(cluster: Cluster, switch: Switchover, stage: SwitchStage, reason: str, now: datetime) -> Step:
    return Step(replace(cluster, switchover=replace(switch, stage=stage, since=now)), reason)


def _again(cluster: Cluster, switch: Switchover, reason: str, now: datetime) -> Step:
    if now >= switch.until:
        return _given_up(cluster, switch, reason)
    after = replace(switch, stage=SwitchStage.PREPARING, since=now, tries=switch.tries + 1)
    return Step(replace(cluster, switchover=after), reason)


def _given_up(cluster: Cluster, switch: Switchover, reason: str) -> Step:
    what = f"gave up the switch from {switch.source} to {switch.target}: {reason}"
    if switch.in_place:
        what = f"gave up the restart of {switch.source} in its place: {reason}"
    note = Note(what=what, type=EventType.CLUSTER_UPDATE)
    return Step(replace(cluster, switchover=None), what, note)


def held(
    cluster: Cluster, leader: str, reports: Mapping[str, NodeStatus], alive: Collection[str]
) -> float | None:
    """Return for how many seconds clients of pools were held until they were led to a node.

    None as long as those of a host may still be.
    """
    seen = [reports.get(name) for name in switch_progress.poolers(cluster, alive)]
    led = [one.held_ms for one in seen if one is not None and one.led_to == leader]
    return max(led, default=0) / 1000 if len(led) == len(seen) else None


def promoted(
    cluster: Cluster, leader: str | None, reason: str, seconds: float | None, held: float | None = None
) -> Step | None:
    """Return the record with the node that takes writes, and the event that tells of its promotion.

    The first one of a cluster is none; ``seconds`` is for how long no node took writes, if that is known, and
    ``held`` for how long clients of pools were held.
    """
    if leader is None or leader == cluster.primary or leader not in {node.name for node in cluster.nodes}:
        return None
    after = replace(cluster, primary=leader)
    if not cluster.primary:
        return Step(after, f"{leader} takes writes")
    lasted = "" if seconds is None else f", after {max(seconds, 0.1):.1f} s"
    waited = f"; clients of its pools were held for {max(held, 0.1):.1f} s" if held else ""
    what = f"promoted {leader} in place of {cluster.primary}{lasted}: {reason}{waited}"
    return Step(after, what, Note(what=what, type=EventType.CLUSTER_MASTER_PROMOTION))
