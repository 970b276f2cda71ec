"""Which node of a cluster with several leaves its drained host next, and what takes its place.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from datetime import datetime

from msgspec.structs import replace

from cenote.errors import Busy
from cenote.model import catalog
from cenote.model.records import Cluster, ClusterStatus, Node
from cenote.model.status_records import NodeStatus
from cenote.model.topology import has_standbys, replacement
from cenote.rules import moves, node_counts, node_placement, replacements, switch_progress, switches
from cenote.rules.scheduling import NO_LIMITS, Candidate, Overcommit, Placement, Wanted

REASON = "its host is drained"
SWITCH_SECONDS = 3600  # after which a switch off a drained host is given up, and begun anew


def to_be_replaced(cluster: Cluster, leader: str | None, drained: Collection[str]) -> Node | None:
    """Return the node that leaves its drained host next, None if none is on one; the writer comes last."""
    if cluster.deleted_at is not None or not has_standbys(cluster):
        return None
    there = [node for node in cluster.nodes if node.host in drained and node.lost_at is None]
    return min(there, key=lambda node: (node.name == leader, node.name), default=None)


def check(
    cluster: Cluster, node: Node, leader: str | None, reports: Mapping[str, NodeStatus], status: ClusterStatus
) -> None:
    """Raise Busy for a cluster of which no node can be replaced now, Invalid for one of which none can be."""
    replacements.check_none(cluster)
    if cluster.switchover is not None or cluster.restart_turn is not None:
        raise Busy("Another node is about to take writes, or one restarts. Wait until that is over.")
    if leader is None:
        raise Busy("No node takes writes at this moment; another one is about to.")
    seen = reports.get(leader)
    moves.check_settled(cluster, seen, status)
    if node.name == leader and seen is not None:
        moves.check_slots(seen)


def waits_for(
    cluster: Cluster, leader: str | None, reports: Mapping[str, NodeStatus], alive: Collection[str]
) -> str | None:
    """Return in words what hinders a replacement that is under way, or the switch before it.

    "" for nothing; None if none is under way.
    """
    found, switch = replacement(cluster), cluster.switchover
    if switch is not None and switch.reason == REASON:
        words = switch_progress.waits_for(cluster, leader, reports, alive)
        return f"{switch.target} takes writes first ({words})"
    if found is None:
        return None
    seen = reports.get(found[1].name)
    return f"{found[1].name} cannot be made: {seen.reason}" if seen is not None and seen.failing else ""


def target(
    cluster: Cluster,
    node: Node,
    candidates: Iterable[Candidate],
    limits: Overcommit = NO_LIMITS,
    without: Set[str] = frozenset(),
) -> Placement:
    """Return where a node comes that replaces this one; the errors are those of ``node_placement``."""
    wanted = Wanted(
        version=cluster.version,
        memory_mib=catalog.SIZES[cluster.size].memory_mib,
        storage_mib=cluster.storage_mib,
    )
    others = tuple(one for one in cluster.nodes if one.name != node.name)
    rest = replace(cluster, nodes=others)
    [found] = node_placement.more(rest, 1, candidates, wanted, limits, {*without, node.host})
    return found


def begun(cluster: Cluster, node: Node, placed: Placement, now: datetime) -> Cluster:
    """Return the cluster with one more node, which replaces this one."""
    grown = node_counts.grown(cluster, [placed], now)
    *others, new = grown.nodes
    return replace(grown, nodes=(*others, replace(new, replaces=node.name)))


def switched(
    cluster: Cluster,
    leader: str,
    reports: Mapping[str, NodeStatus],
    drained: Collection[str],
    now: datetime,
) -> Cluster | None:
    """Return the cluster with a switch begun to a node on a host that is not drained; None without any.

    Busy while none of them can take over.
    """
    able = [node.name for node in cluster.nodes if node.host not in drained and node.lost_at is None]
    if not able:
        return None
    after = switches.begun(cluster, leader, reports, now, seconds=SWITCH_SECONDS, among=able)
    assert after.switchover is not None
    return replace(after, switchover=replace(after.switchover, reason=REASON))
