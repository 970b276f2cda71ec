"""Which node of a cluster takes writes, and how its nodes are.

The only module that says so: pure functions of the record, the nodes' reports and their hosts' presences.  Of
several nodes, the failover agent names the writer; a node that is the only one needs no such agent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from cenote.model.fleet_records import Presence
from cenote.model.paths import PGBOUNCER, POSTGRESQL
from cenote.model.records import Cluster, ClusterStatus, Move, MoveStage, Node, UpgradeStep
from cenote.model.status_records import NodeStatus, Standby


class Absence(msgspec.Struct, frozen=True, kw_only=True):
    """A host whose agent does not answer: its name, since when if that is known, and whether it is down."""

    name: str = ""
    since: datetime | None = None
    is_down: bool = False


NONE_AWAY: Mapping[str, Absence] = {}
LAGGING = 64 * 2**20  # bytes that a standby may lack and still be as wanted
_HELD = (UpgradeStep.HOLDING, UpgradeStep.UPGRADING)
SHARED = "nodes share a host: no protection against its loss"


class Health(StrEnum):
    """Healthy: it serves.  Degraded: it serves, though not as wanted.  Unknown: no agent reports on it."""

    HEALTHY = "healthy"
    STARTING = "starting"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A state with the reason for it in words, and since when, if that is known."""

    health: Health
    reason: str = ""
    since: datetime | None = None


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A node as it is seen; ``writes`` for the one that takes writes.

    ``standby`` is how far one that stands by is, None while that is not known; ``sync`` says whether commits
    wait for it, or for another one of those that say so.
    """

    node: Node
    writes: bool
    standby: Standby | None = None
    sync: bool = False
    health: Health
    reason: str = ""
    since: datetime | None = None


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster as it is seen.

    ``status`` is what the API has words for, ``health`` whether the cluster can be used.
    """

    writer: Node | None
    members: tuple[Member, ...]
    health: Health
    status: ClusterStatus
    reason: str = ""
    since: datetime | None = None


def topology(
    cluster: Cluster,
    reports: Mapping[str, NodeStatus],
    presences: Mapping[str, Presence] | None,
    leader: str | None = None,
    *,
    absences: Mapping[str, Absence] = NONE_AWAY,
) -> Topology:
    """Return the state of a cluster.

    ``reports`` are by node and ``presences`` by host; with None for these, no health is known.  ``absences``
    has what is known of hosts without a presence.  ``leader`` is the node that the failover agent names.
    """
    chosen = _position(cluster, leader)
    of_writer = _report_of_writer(cluster, reports, presences, leader)
    members = tuple(
        _member(
            cluster, node, reports.get(node.name), presences, absences, of_writer, writes=position == chosen
        )
        for position, node in enumerate(cluster.nodes)
    )
    verdict = _cluster_verdict(members, cluster.move)
    return Topology(
        writer=None if chosen is None else cluster.nodes[chosen],
        members=members,
        health=verdict.health,
        status=status_of(cluster, reports, leader),
        reason=verdict.reason,
        since=verdict.since,
    )


def has_standbys(cluster: Cluster) -> bool:
    """Return whether a cluster has several nodes, of which one takes writes and the others stand by.

    The target of a move is none of them; nor are those that wait for data that are being restored.
    """
    return len(cluster.nodes) > 1 and cluster.move is None and cluster.restoration is None


def replacement(cluster: Cluster) -> tuple[Node, Node] | None:
    """Return the node that is replaced by another one, and that one; None while none is."""
    nodes = {node.name: node for node in cluster.nodes}
    found = ((nodes[node.replaces], node) for node in cluster.nodes if node.replaces in nodes)
    return next(found, None)


def node_count(cluster: Cluster) -> int:
    """Return how many nodes were asked for: one that moves, or is replaced, has one more meanwhile."""
    if cluster.move is not None:
        return 1
    return len(cluster.nodes) - (replacement(cluster) is not None)


def upgraded_alone(cluster: Cluster) -> str:
    """Return the node of several that runs without Patroni, to be upgraded to another major version."""
    mark = cluster.major_upgrade
    if mark is None or cluster.move is not None or mark.step is UpgradeStep.REJOINING:
        return ""
    return mark.node


def rests(cluster: Cluster, node: Node) -> bool:
    """Return whether a node is stopped while another one is upgraded."""
    upgraded, mark = upgraded_alone(cluster), cluster.major_upgrade
    if not upgraded or mark is None or mark.step is UpgradeStep.RELEASING:
        return False
    return node.name != upgraded


def holds_for_upgrade(cluster: Cluster) -> bool:
    """Return whether each pooler of a cluster with several nodes holds its pools for an upgrade."""
    mark = cluster.major_upgrade
    return bool(upgraded_alone(cluster)) and mark is not None and mark.step in _HELD


def shares_host(cluster: Cluster) -> bool:
    """Return whether nodes of a cluster share a host."""
    hosts = [node.host for node in cluster.nodes if node.lost_at is None]
    return cluster.move is None and len(hosts) > len(set(hosts))


def writer(cluster: Cluster, leader: str | None = None) -> Node | None:
    """Return the node that takes writes, None while it is not known."""
    chosen = _position(cluster, leader)
    return None if chosen is None else cluster.nodes[chosen]


def writer_or_first(cluster: Cluster, leader: str | None = None) -> Node:
    """Return the writer; while it is not known, the first node.

    For answers that need a node: its ports and reports stand for the cluster.  Nothing is written to it.
    """
    return writer(cluster, leader) or cluster.nodes[0]


def a_standby(cluster: Cluster, leader: str | None = None, *, good: Collection[str] = ()) -> Node | None:
    """Return the node that readers are led to, None without a standby.

    One whose name is in ``good``, if there is any, and on another host than the writer.
    """
    if not has_standbys(cluster):
        return None
    first = writer_or_first(cluster, leader)
    others = [node for node in cluster.nodes if node is not first and node.lost_at is None]
    return min(others, key=lambda node: (node.name not in good, node.host == first.host), default=None)


def node_key(cluster_id: UUID, node_name: str) -> str:
    """Return the name of a node among those of all clusters, as a presence has it."""
    return f"{cluster_id}/{node_name}"


def in_words(cluster: Cluster, node_name: str) -> str:
    """Return what a line of the log calls a node: by its cluster's name, if it is the only one."""
    return cluster.name if len(cluster.nodes) == 1 else f"{cluster.name} ({node_name})"


def status(cluster: Cluster, seen: NodeStatus | None) -> ClusterStatus:
    """Return the status: ``creating`` until the writer has been up once; then ``resizing`` or ``migrating``
    until the writer has the desired size, storage and region.  A cluster that moves was up.  A read replica
    is ``creating`` again while it copies its source's data anew.  One whose data are being restored is
    ``forking``, a fork until it was up, or ``migrating`` after the loss of a host."""
    if _is_forking(cluster, seen):
        return ClusterStatus.FORKING
    if cluster.restoration is not None or _is_coming_back(cluster, seen):
        return ClusterStatus.MIGRATING
    if seen is not None and is_being_promoted(cluster, seen):
        return ClusterStatus.CREATING
    if is_being_copied(cluster, seen):
        return ClusterStatus.CREATING
    if seen is None or not seen.reached:
        return ClusterStatus.CREATING if cluster.move is None else ClusterStatus.ONLINE
    if seen.size and (seen.size, seen.storage_mib) != (cluster.size, cluster.storage_mib):
        return ClusterStatus.RESIZING
    if seen.region and seen.region != cluster.region:
        return ClusterStatus.MIGRATING
    return ClusterStatus.ONLINE


def is_being_promoted(cluster: Cluster, seen: NodeStatus) -> bool:
    """Return whether a cluster was a read replica, and its server has not been seen to take writes yet."""
    return cluster.replica_of is None and seen.copy > 0


def is_being_copied(cluster: Cluster, seen: NodeStatus | None) -> bool:
    """Return whether a read replica has not the copy of its source's data yet that it is to have."""
    return cluster.replica_of is not None and (seen is None or seen.copy != cluster.copies)


def status_of(
    cluster: Cluster, reports: Mapping[str, NodeStatus], leader: str | None = None
) -> ClusterStatus:
    """Return the status: that of the writer, and until each node has worked once, ``creating``; or
    ``resizing`` if it became one later."""
    seen = reports.get(writer_or_first(cluster, leader).name) if cluster.nodes else None
    found = status(cluster, seen)
    if found is not ClusterStatus.ONLINE or not has_standbys(cluster):
        return found
    awaited = [
        node
        for node in cluster.nodes
        if node.lost_at is None and (node.name not in reports or not reports[node.name].reached)
    ]
    if not awaited:
        return found
    is_made = any(node.added_at is None for node in awaited)
    return ClusterStatus.CREATING if is_made else ClusterStatus.RESIZING


def _is_forking(cluster: Cluster, seen: NodeStatus | None) -> bool:
    if cluster.restoration is not None:
        return cluster.restoration.fork
    return seen is not None and seen.restored is not None and not seen.reached


def _is_coming_back(cluster: Cluster, seen: NodeStatus | None) -> bool:
    """Return whether a recovered cluster has its data, and its server lets no client in yet."""
    was_recovered = cluster.backups is not None and bool(cluster.backups.lineage)
    return was_recovered and seen is not None and seen.restored is not None


def _report_of_writer(
    cluster: Cluster,
    reports: Mapping[str, NodeStatus],
    presences: Mapping[str, Presence] | None,
    leader: str | None,
) -> NodeStatus | None:
    """Return what the writer of several nodes says now; None while nobody can tell."""
    chosen = writer(cluster, leader)
    report = None if chosen is None else reports.get(chosen.name)
    if not has_standbys(cluster) or chosen is None or report is None or presences is None:
        return None
    presence = presences.get(chosen.host)
    return report if presence is not None and presence.run == report.run else None


def _position(cluster: Cluster, leader: str | None) -> int | None:
    if len(cluster.nodes) == 1:
        return 0
    if cluster.move is not None:
        leader = cluster.move.writer
    if cluster.restoration is not None:
        leader = cluster.restoration.node
    return next((position for position, node in enumerate(cluster.nodes) if node.name == leader), None)


def _member(
    cluster: Cluster,
    node: Node,
    report: NodeStatus | None,
    presences: Mapping[str, Presence] | None,
    absences: Mapping[str, Absence],
    of_writer: NodeStatus | None,
    *,
    writes: bool,
) -> Member:
    verdict = _verdict(cluster, node, report, presences, absences.get(node.host))
    stands_by = has_standbys(cluster) and not writes
    is_known = verdict.health not in (Health.UNKNOWN, Health.DOWN)
    standby = report.standby if report is not None and stands_by and is_known else None
    if verdict.health is Health.HEALTHY and of_writer is not None and stands_by:
        verdict = _of_standby(standby, verdict, is_followed=node.name in of_writer.followers)
    return Member(
        node=node,
        writes=writes,
        standby=standby,
        sync=stands_by and of_writer is not None and node.name in of_writer.quorum,
        health=verdict.health,
        reason=verdict.reason,
        since=verdict.since,
    )


def _of_standby(standby: Standby | None, otherwise: Verdict, *, is_followed: bool) -> Verdict:
    """Judge a standby that works, by what it and the server that it is to follow say."""
    if not is_followed and standby is not None and standby.streaming:
        reason = "it follows the primary, which is about to say so"  # it looks again every moment
        return Verdict(health=Health.STARTING, reason=reason, since=otherwise.since)
    if not is_followed:
        return Verdict(health=Health.DEGRADED, reason="it does not follow the primary")
    if standby is not None and standby.behind > LAGGING:
        reason = f"it is {standby.behind // 2**20} MiB behind the primary"
        return Verdict(health=Health.DEGRADED, reason=reason)
    return otherwise


def _verdict(
    cluster: Cluster,
    node: Node,
    report: NodeStatus | None,
    presences: Mapping[str, Presence] | None,
    absence: Absence | None,
) -> Verdict:
    """Judge a node by its report, which counts only if the agent run that wrote it is the living one."""
    if node.lost_at is not None:
        return Verdict(health=Health.DOWN, reason="its host was removed", since=node.lost_at)
    if rests(cluster, node) and report is not None and report.major_upgrade is not None:
        return Verdict(health=Health.DEGRADED, reason=f"stopped while {upgraded_alone(cluster)} is upgraded")
    if presences is None:
        return Verdict(health=Health.UNKNOWN, reason="etcd does not answer")
    key, presence = node_key(cluster.id, node.name), presences.get(node.host)
    if presence is None:
        return _of_absent(absence or Absence())
    if key in presence.stalled:
        return Verdict(health=Health.UNKNOWN, reason="the agent of its host makes no progress with it")
    if report is not None and report.run == presence.run and is_being_promoted(cluster, report):
        return Verdict(health=Health.STARTING, reason="it is being promoted", since=report.since)
    if report is not None and report.run == presence.run and _is_copying_anew(cluster, report):
        return Verdict(health=Health.STARTING, reason=report.reason, since=report.since)
    if report is not None and report.run == presence.run:
        reason, since = _reported_reason(report), report.since or report.at.replace(microsecond=0)
        return Verdict(health=reported_health(report), reason=reason, since=since)
    if report is None:
        reason = "waiting for the host's agent"
        return Verdict(health=Health.STARTING, reason=reason, since=cluster.created_at)
    if key in presence.unseen:
        reason = "the agent of its host has started and not looked at it yet"
        return Verdict(health=Health.STARTING, reason=reason, since=presence.started_at)
    reason = "the host's agent has not reported since its start"
    return Verdict(health=Health.UNKNOWN, reason=reason, since=presence.started_at)


def _is_copying_anew(cluster: Cluster, report: NodeStatus) -> bool:
    return is_being_copied(cluster, report) and report.waiting and not report.failing


def _of_absent(absence: Absence) -> Verdict:
    reason = "the agent of its host does not answer"
    if absence.name:
        reason = not_answering(absence.name, absence.since)
    health = Health.DOWN if absence.is_down else Health.UNKNOWN
    return Verdict(health=health, reason=reason, since=absence.since)


def not_answering(host_name: str, since: datetime | None) -> str:
    """Return in words that a host does not answer."""
    words = f"host {host_name} does not answer"
    return words if since is None else f"{words} since {since:%Y-%m-%d %H:%M:%S} UTC"


def reported_health(report: NodeStatus) -> Health:
    """Return the health of a node as its agent saw it."""
    if not report.reached:
        return Health.DOWN if report.failing else Health.STARTING
    upgrade = report.major_upgrade
    if POSTGRESQL in report.stopped:
        is_upgraded = upgrade is not None and not (upgrade.refused or upgrade.done) and report.waiting
        return Health.STARTING if is_upgraded else Health.DOWN
    if POSTGRESQL in report.unresponsive:
        return Health.STARTING if report.waiting else Health.DOWN
    if report.failing or report.waiting or report.stopped or report.unresponsive or _unarchived(report):
        return Health.DEGRADED  # the server works, and something else does not
    return Health.HEALTHY


def _reported_reason(report: NodeStatus) -> str:
    if report.reason:
        return report.reason
    for program in (POSTGRESQL, PGBOUNCER):
        if program in report.stopped:
            return f"{program} does not run"
        if program in report.unresponsive:
            return f"{program} does not answer"
    return _unarchived(report)


def _unarchived(report: NodeStatus) -> str:
    backups = report.backups
    if backups is None:
        return ""
    return f"no backups: {backups.hindrance}" if backups.hindrance else backups.unarchived


def _cluster_verdict(members: tuple[Member, ...], move: Move | None = None) -> Verdict:
    """Judge a cluster by its writer first: what it cannot do, the cluster cannot.

    One that moves is judged by its writer alone: a copy that is not there yet lacks nothing.
    """
    chosen = next((member for member in members if member.writes), None)
    if chosen is None:
        if all(member.health is Health.UNKNOWN for member in members):
            return Verdict(health=Health.UNKNOWN, reason="it is not known which node takes writes")
        return Verdict(health=Health.DOWN, reason="no node takes writes")
    if move is not None and move.stage is MoveStage.SWITCHING and chosen.health is Health.DOWN:
        reason = "its clients wait for a moment, while another host takes over"
        return Verdict(health=Health.STARTING, reason=reason, since=chosen.since)
    if chosen.health is not Health.HEALTHY or move is not None:
        return Verdict(health=chosen.health, reason=chosen.reason, since=chosen.since)
    lacking = [member for member in members if member.health is not Health.HEALTHY]
    if not lacking and len({member.node.host for member in members}) < len(members):
        return Verdict(health=Health.DEGRADED, reason=SHARED, since=chosen.since)
    if not lacking:
        return Verdict(health=Health.HEALTHY, reason=chosen.reason, since=chosen.since)
    reason = "; ".join(
        f"{member.node.name} is {member.health}" + (f": {member.reason}" if member.reason else "")
        for member in lacking
    )
    since = min((member.since for member in lacking if member.since is not None), default=None)
    return Verdict(health=Health.DEGRADED, reason=reason, since=since)
