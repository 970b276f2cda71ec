"""Which node of a cluster can take over from the one that takes writes.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from msgspec.structs import replace

from cenote.errors import Busy, Invalid
from cenote.model.records import Cluster, Switchover
from cenote.model.status_records import NodeStatus
from cenote.model.topology import has_standbys
from cenote.rules import major_upgrades

DEFAULT_SECONDS, MOST_SECONDS = 60, 3600
_NOT_KNOWN = float("inf")


def begun(
    cluster: Cluster,
    leader: str | None,
    reports: Mapping[str, NodeStatus],
    now: datetime,
    *,
    candidate: str = "",
    seconds: int = DEFAULT_SECONDS,
    cut: bool = False,
    among: Collection[str] | None = None,
) -> Cluster:
    """Return the cluster with a switch to another node begun, by default to the one that lacks least.

    ``among`` are the nodes that are chosen from, all unless it is given.
    It is given up after so many ``seconds``.  With ``cut``, transactions in pools that go on are ended.
    Invalid for a node that cannot be meant, Busy while none can take over.
    """
    if not has_standbys(cluster):
        add = f"cenote cluster resize {cluster.name} {cluster.size} --nodes 2"
        raise Invalid(f"The cluster has one node; add another one first ('{add}').")
    if candidate and candidate not in {node.name for node in cluster.nodes}:
        names = ", ".join(node.name for node in cluster.nodes)
        raise Invalid(f"candidate: the cluster has no node {candidate[:40]!a}; its nodes are {names}.")
    if not 1 <= seconds <= MOST_SECONDS:
        raise Invalid(f"seconds: {seconds} is not from 1 to {MOST_SECONDS}.")
    major_upgrades.check_none(cluster)
    if cluster.switchover is not None:
        raise Busy("A switch is under way already. Wait until that is over.")
    if leader is None:
        raise Busy("No node takes writes at this moment; another one is about to.")
    if candidate == leader:
        raise Invalid(f"candidate: {leader} takes writes already.")
    target = candidate or _closest(cluster, leader, reports, among)
    _check(target, leader, reports)
    at = now.replace(microsecond=0)
    switch = Switchover(
        source=leader, target=target, asked_at=now, until=at + timedelta(seconds=seconds), since=now, cut=cut
    )
    return replace(cluster, switchover=switch)


def cancelled(cluster: Cluster) -> Cluster:
    """Return the cluster without its switch; Invalid without one."""
    if cluster.switchover is None:
        raise Invalid("No switch is under way.")
    return replace(cluster, switchover=None)


def _closest(
    cluster: Cluster, leader: str, reports: Mapping[str, NodeStatus], among: Collection[str] | None
) -> str:
    """Return the standby that lacks least, of those that commits wait for, if they wait for any."""
    source = reports.get(leader)
    followers = () if source is None else source.quorum or source.followers
    names = [node.name for node in cluster.nodes if among is None or node.name in among]
    others = [name for name in names if name in followers and name != leader]
    if not others:
        raise Busy(f"No other node follows {leader} at this moment; see 'cenote cluster nodes'.")

    def lag(name: str) -> float:
        seen = reports.get(name)
        return _NOT_KNOWN if seen is None or seen.standby is None else seen.standby.behind

    return min(others, key=lambda name: (lag(name), name))


def _check(target: str, leader: str, reports: Mapping[str, NodeStatus]) -> None:
    source = reports.get(leader)
    if source is None or target not in source.followers:
        raise Busy(f"{target} does not follow {leader} at this moment; see 'cenote cluster nodes'.")
    if source.quorum and target not in source.quorum:
        raise Busy(f"{target} may lack what commits do not wait for; choose {', '.join(source.quorum)}.")
