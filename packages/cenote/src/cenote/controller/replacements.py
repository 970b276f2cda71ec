"""Nodes on drained hosts, of clusters with several: what a record becomes next, by what is reported.  Pure.

A writer there gives up to a node elsewhere, by a planned switch.  Then a new node is added on another host,
and once that one follows closely the former one is removed, so there are never fewer nodes that follow.  The
record says which node replaces which (``Node.replaces``), so whoever takes over finds what is under way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from cenote.model.event_records import EventType, Note
from cenote.model.records import Cluster, Node, Switchover, SwitchStage
from cenote.model.status_records import NodeStatus
from cenote.model.topology import has_standbys, replacement
from cenote.rules import node_drains, replacements, switch_progress
from cenote.rules.move_progress import DEFAULT, Hosts, Limits
from cenote.rules.scheduling import Placement


@dataclass(frozen=True, slots=True)
class Step:
    """The record as it shall be, why, and the event that tells of it.

    ``unfit``: the id of a host that better gets no node for a while; "" for none.
    """

    cluster: Cluster
    reason: str
    event: Note | None = None
    unfit: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of a cluster: the node that takes writes, the reports by node, and the hosts."""

    leader: str | None
    reports: Mapping[str, NodeStatus]
    hosts: Hosts

    def is_writer_known(self, cluster: Cluster) -> bool:
        """Return whether a node takes writes whose host answers, so that its report is current."""
        return any(node.name == self.leader and node.host in self.hosts.alive for node in cluster.nodes)

    def follows(self, node: Node) -> bool:
        """Return whether a node has nearly all that the writer has, as living agents say."""
        leader = self.leader
        if leader is None or node.host not in self.hosts.alive:
            return False
        return node.name == leader or not switch_progress.lag(leader, node.name, self.reports)


def is_busy(cluster: Cluster) -> bool:
    """Return whether a node is being replaced, or the writer gives up since its host is drained."""
    switch = cluster.switchover
    return replacement(cluster) is not None or (switch is not None and switch.reason == node_drains.REASON)


def begun(cluster: Cluster, look: Look, node: Node, placed: Placement) -> Step:
    """Return the first step off a drained host, towards a place for the new node.

    Busy while the node takes writes and none elsewhere can take over.
    """
    hosts = look.hosts
    if look.leader == node.name and (switch := _switched(cluster, look, node.name)) is not None:
        return switch
    after = node_drains.begun(cluster, node, placed, hosts.now)
    what = (
        f"replaces {node.name} on {hosts.name(node.host)}, which is drained, "
        f"by {after.nodes[-1].name} on {hosts.name(placed.host.id)}"
    )
    return Step(after, what, _note(what))


def step(cluster: Cluster, look: Look, limits: Limits = DEFAULT) -> Step | None:
    """Return what the record of a cluster becomes next that ``is_busy``.

    None while something is waited for.  Busy while the former node takes writes and none can take over.
    """
    found, hosts = replacement(cluster), look.hosts
    if cluster.switchover is not None:
        return _cancelled(cluster, cluster.switchover, hosts)
    if found is None or not has_standbys(cluster) or not look.is_writer_known(cluster):
        return None
    former, new = found
    if look.leader != new.name:
        reason, unfit = _why_given_up(former, new, look, limits)
        if reason:
            what = f"gave up {new.name} on {hosts.name(new.host)}, in place of {former.name}: {reason}"
            return Step(replacements.given_up(cluster, new), what, _note(what), new.host if unfit else "")
    if not look.follows(new):
        return None
    if look.leader == former.name:
        return _switched(cluster, look, former.name)
    if cluster.primary == former.name:
        return None  # the promotion is told first
    places = f"from {hosts.name(former.host)} to {hosts.name(new.host)}"
    what = f"moved {former.name} {places}, where it is {new.name}"
    return Step(replacements.finished(cluster, former, new), what, _note(what))


def _cancelled(cluster: Cluster, switch: Switchover, hosts: Hosts) -> Step | None:
    """Return a cluster without its switch, if its writer's host is undrained and nobody is held."""
    is_drained = any(node.name == switch.source and node.host in hosts.drained for node in cluster.nodes)
    is_ours = switch.reason == node_drains.REASON and switch.stage is SwitchStage.PREPARING
    if is_drained or not is_ours:
        return None
    what = f"gave up the switch from {switch.source} to {switch.target}: its host is not drained any more"
    return Step(replace(cluster, switchover=None), what, _note(what))


def _switched(cluster: Cluster, look: Look, leader: str) -> Step | None:
    hosts = look.hosts
    after = node_drains.switched(cluster, leader, look.reports, hosts.drained, hosts.now)
    if after is None or after.switchover is None:
        return None
    return Step(after, f"{after.switchover.target} is to take writes: {node_drains.REASON}")


def _why_given_up(former: Node, new: Node, look: Look, limits: Limits) -> tuple[str, bool]:
    """Return why the new node is removed again, "" if it is not, and whether its host is to blame."""
    hosts, seen = look.hosts, look.reports.get(new.name)
    there = f"the host {hosts.name(new.host)}"
    if hosts.is_lost(new):
        return f"{there} was removed", False
    if hosts.away_for(new.host) >= limits.away:
        return f"{there} is down", False
    if look.follows(former) or not look.follows(new):  # without it, as many nodes follow
        if former.host not in hosts.drained and not hosts.is_lost(former):
            return f"the host {hosts.name(former.host)} is not drained any more", False
        if new.host in hosts.drained:
            return f"{there} is being drained", False
    since = None if seen is None or not seen.failing else seen.since
    if seen is not None and since is not None and (hosts.now - since).total_seconds() >= limits.failing:
        return seen.reason or "it fails again and again", True
    return "", False


def _note(what: str) -> Note:
    return Note(what=what, type=EventType.CLUSTER_UPDATE)
