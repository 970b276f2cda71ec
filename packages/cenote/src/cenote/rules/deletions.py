"""Deleted clusters: how long they can be undeleted, and what they are when they are back.  Pure.

The data of a deleted cluster goes to the trash of its host.  Its record stays, with ``deleted_at`` and
``keep``, until the data is gone; then the cluster is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec.structs import replace

from cenote.model.records import Cluster, Keep, MoveStage, Node, Undeletion
from cenote.model.status_records import NodeStatus
from cenote.model.topology import has_standbys, node_count, writer_or_first
from cenote.rules import moves, online_migrations, recoveries


def deleted(
    cluster: Cluster, at: datetime, days: int, leader: str | None = None, *, backed_up: bool = False
) -> Cluster:
    """Return a cluster as it is deleted at that time; it can be undeleted for so many days, 0: not at all.

    ``backed_up``: also from its backups.

    One that is being moved stays where it takes writes, so that it is whole when it is back.  One that was
    undeleted just before may have its data in the trash yet, so that deletion is not forgotten.  Of several
    nodes that one is kept which takes writes, the ``leader``.
    """
    if days:
        count = node_count(cluster) if has_standbys(cluster) else 1
        keep = Keep(until=at + timedelta(days=days), backed_up=backed_up, nodes=count)
        cluster = replace(_without_standbys(_without_move(cluster), leader), keep=keep)
    return replace(cluster, deleted_at=at)


def _without_move(cluster: Cluster) -> Cluster:
    move = cluster.move
    if move is None:
        return cluster
    if move.stage is not MoveStage.LEAVING:
        return moves.backed_out(cluster)
    nodes = {node.name: node for node in cluster.nodes}
    return replace(cluster, nodes=(nodes[move.target],), move=None, left=(*cluster.left, nodes[move.source]))


def _without_standbys(cluster: Cluster, leader: str | None) -> Cluster:
    if not has_standbys(cluster):
        return cluster
    kept = writer_or_first(cluster, leader or cluster.primary)
    others = tuple(node for node in cluster.nodes if node is not kept)
    return replace(cluster, nodes=(kept,), left=(*cluster.left, *others), switchover=None, primary="")


def undeleted(cluster: Cluster, name: str, nodes: tuple[Node, ...]) -> Cluster:
    """Return a deleted cluster as it is when it is there again, under this name and with these nodes."""
    assert cluster.deleted_at is not None
    return replace(
        online_migrations.given_up(cluster),  # its source was cleaned at the deletion
        name=name,
        nodes=nodes,
        deleted_at=None,
        keep=None,
        undeletion=Undeletion(deleted_at=cluster.deleted_at, nodes=tuple(node.name for node in nodes)),
    )


def undeleted_from_backups(
    cluster: Cluster,
    name: str,
    nodes: tuple[Node, ...],
    former: tuple[Node, ...],
    now: datetime,
    mark: str,
    version: str = "",
) -> Cluster:
    """Return a deleted cluster as it is when its data come from its backups; see ``recoveries.recovered``.

    The first of ``nodes`` gets the data, and the others copy it.  ``former`` are the nodes that its hosts
    have not put away yet.  What is in a trash stays there.
    """
    there = recoveries.recovered(replace(cluster, nodes=former), nodes[0], now, mark, nodes[1:], version)
    return replace(there, name=name, deleted_at=None, keep=None)


def is_in_backups(cluster: Cluster, now: datetime) -> bool:
    """Return whether a deleted cluster can still be undeleted from its backups."""
    keep = cluster.keep
    return keep is not None and keep.backed_up and not keep.purged and now < keep.until


def without_data(cluster: Cluster, at: datetime) -> Cluster:
    """Return a deleted cluster of which no host has the data any more; the same one if it says so."""
    keep = cluster.keep
    assert keep is not None
    if keep.stopped and all(node.lost_at is not None for node in cluster.nodes):
        return cluster
    nodes = tuple(node if node.lost_at is not None else replace(node, lost_at=at) for node in cluster.nodes)
    return replace(cluster, nodes=nodes, keep=replace(keep, stopped=True), left=(), undeletion=None)


def purged(cluster: Cluster) -> Cluster:
    """Return a deleted cluster whose data is to be removed as soon as its hosts can."""
    assert cluster.keep is not None
    return replace(cluster, keep=replace(cluster.keep, purged=True))


def put_away(cluster: Cluster, reports: Mapping[str, NodeStatus]) -> Cluster:
    """Return a deleted cluster with its ports free if its hosts have put it away, else the same one.

    Of nodes that it had left before, nothing is kept.
    """
    keep = cluster.keep
    if keep is None or keep.stopped or not _is_stopped(cluster, reports):
        return cluster
    return replace(cluster, keep=replace(keep, stopped=True), left=(), undeletion=None)


def is_removed(cluster: Cluster, reports: Mapping[str, NodeStatus]) -> bool:
    """Return whether every host of a deleted cluster has reported that nothing is left of it there.

    What was on a host that is lost went with it.
    """
    if cluster.keep is None and cluster.undeletion is None:  # an agent may not know of which deletion it is
        return cluster.deleted_at is not None and all(
            node.lost_at is not None or (node.name in reports and reports[node.name].removed)
            for node in _every_node(cluster)
        )
    return _is_stopped(cluster, reports) and not any(
        node.lost_at is None and reports[node.name].kept for node in _every_node(cluster)
    )


def is_back(cluster: Cluster, reports: Mapping[str, NodeStatus], revision: int) -> bool:
    """Return whether the data of an undeleted cluster is in its place, as of this revision of its record."""
    undeletion = cluster.undeletion
    return undeletion is not None and all(
        name in reports and reports[name].reached >= revision for name in undeletion.nodes
    )


def is_gone(cluster: Cluster, node: Node, report: NodeStatus | None) -> bool:
    """Return whether a host has reported that it has nothing of a deleted cluster any more."""
    return was_removed(cluster, report) and report is not None and not report.kept


def was_removed(cluster: Cluster, report: NodeStatus | None) -> bool:
    """Return whether a report is of this deletion, and of none that was taken back."""
    return report is not None and report.removed and report.removed_for == cluster.deleted_at


def _is_stopped(cluster: Cluster, reports: Mapping[str, NodeStatus]) -> bool:
    return all(
        node.lost_at is not None or was_removed(cluster, reports.get(node.name))
        for node in _every_node(cluster)
    )


def _every_node(cluster: Cluster) -> tuple[Node, ...]:
    return *cluster.nodes, *cluster.left
