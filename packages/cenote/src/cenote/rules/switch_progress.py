"""What a planned switch waits for, by what the hosts of a cluster report.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from cenote.model.records import Cluster, Switchover, SwitchStage
from cenote.model.status_records import NodeStatus

CLOSE = 4 * 2**20  # bytes that the other node may lack when clients begin to wait


def waits_for(
    cluster: Cluster, leader: str | None, reports: Mapping[str, NodeStatus], alive: Collection[str]
) -> str:
    """Return in words what a switch waits for."""
    switch = cluster.switchover
    if switch is None:
        return ""
    if leader is None:
        return "no node takes writes at this moment"
    match switch.stage:
        case SwitchStage.PREPARING:
            return hindrance(switch, reports) or "the next attempt"
        case SwitchStage.HOLDING:
            missing = not_held(cluster, switch, reports, alive)
            reasons = [reports[name].reason for name in missing if name in reports]
            return next(filter(None, reasons), "a moment without transactions in the pools")
        case SwitchStage.SWITCHING:
            return f"{switch.source} restarts" if switch.in_place else f"{switch.target} takes over"


def hindrance(switch: Switchover, reports: Mapping[str, NodeStatus]) -> str:
    """Return why clients cannot be held yet, "" if they can."""
    source = reports.get(switch.source)
    if source is not None and switch.in_place:
        return "" if source.ready_for == switch.attempt else "a checkpoint is written"
    if reason := lag(switch.source, switch.target, reports):
        return reason
    return "" if source is not None and source.ready_for == switch.attempt else "a checkpoint is written"


def lag(writer: str, name: str, reports: Mapping[str, NodeStatus]) -> str:
    """Return what a node lacks of following the writer closely, "" for nothing."""
    source, target = reports.get(writer), reports.get(name)
    if source is None or target is None or name not in source.followers:
        return f"{name} does not follow {writer}"
    if source.quorum and name not in source.quorum:
        return f"{name} may lack what commits do not wait for"
    if target.standby is not None and target.standby.behind > CLOSE:
        return f"{name} is {target.standby.behind // 2**20} MiB behind"
    return ""


def not_held(
    cluster: Cluster, switch: Switchover, reports: Mapping[str, NodeStatus], alive: Collection[str]
) -> list[str]:
    """Return the first nodes of hosts whose poolers do not hold their pools yet."""
    return [
        name
        for name in poolers(cluster, alive)
        if name not in reports or reports[name].held_for != switch.attempt
    ]


def poolers(cluster: Cluster, alive: Collection[str]) -> list[str]:
    """Return the first node of each living host, whose report is on the pooler there; lost ones have none."""
    first = {node.host: node.name for node in reversed(cluster.nodes) if node.lost_at is None}
    return [name for host, name in first.items() if host in alive]
