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
            return hindrance(cluster, switch, reports, alive) or "the next attempt"
        case SwitchStage.HOLDING:
            missing = not_held(cluster, switch, reports, alive)
            reasons = [reports[name].reason for name in missing if name in reports]
            return next(filter(None, reasons), "a moment without transactions in the pools")
        case SwitchStage.SWITCHING:
            return f"{switch.source} restarts" if switch.in_place else f"{switch.target} takes over"


def hindrance(
    cluster: Cluster, switch: Switchover, reports: Mapping[str, NodeStatus], alive: Collection[str]
) -> str:
    """Return why clients are not held yet, "" if they can be, and are likely not to be in vain."""
    source = reports.get(switch.source)
    if (source is None or not switch.in_place) and (reason := lag(switch.source, switch.target, reports)):
        return reason
    if source is None or source.ready_for != switch.attempt:
        return "a checkpoint is written"
    return _busy(switch, [reports.get(name) for name in poolers(cluster, alive)])


def _busy(switch: Switchover, seen: Collection[NodeStatus | None]) -> str:
    """Return which transactions in pools have to end first, "" for none."""
    others = [one for one in seen if one is None or one.free_for != switch.attempt]
    if not others:
        return ""
    longest = max((one.busy_seconds for one in others if one is not None), default=0)
    if not longest:
        return "its pools are looked at"
    return f"a transaction in a pool has been open for more than {longest} s"


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
