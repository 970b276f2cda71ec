"""What becomes of a node of a deleted cluster on its host: it goes to the trash, and comes back from it.

Data comes back on positive evidence only: the record of a living cluster has the node here and names the
deletion that was taken back, and the trash has what came of that very deletion.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from msgspec.structs import replace

from cenote.engine.plan.context import NodeContext
from cenote.errors import CenoteError
from cenote.host import files, trash
from cenote.model.paths import ClusterPaths, Layout
from cenote.model.records import Cluster
from cenote.model.status_records import NodeStatus
from cenote.model.trash import TrashNote
from cenote.rules import sweep

log = logging.getLogger(__name__)


def is_put_away(cluster: Cluster, last: NodeStatus, paths: ClusterPaths) -> bool:
    """Return whether a deleted cluster was stopped for good, so that there is no need to look for servers."""
    was_reported = last.removed and last.kept and last.removed_for == cluster.deleted_at
    return was_reported and not any(map(files.needs_removal, (paths.root, paths.sockets)))


def trash_note(context: NodeContext, now: datetime) -> TrashNote | None:
    """Return the note with which a node that is removed goes to the trash; None if it is not kept.

    The node that a deleted cluster has is kept whatever it is: at the end of a move it may not have been
    promoted yet, and is once it is back.
    """
    cluster, node, host = context.cluster, context.node.name, context.host
    late = host.timing.late_deletion
    why = sweep.why_kept(cluster, node, now, late)
    note = TrashNote(cluster=cluster.id, name=cluster.name, why=why, at=now)
    if cluster.keep is None or not sweep.is_kept(cluster, node, ephemeral=host.ephemeral):
        is_last = sweep.is_given_up(cluster, node) and files.mode_of(context.paths.data) is not None
        is_worth_it = is_last or trash.is_worth_it(context.paths)
        return note if why and host.keeps_trash and is_worth_it else None
    if files.mode_of(context.paths.data) is None:
        return None
    root, until = context.cluster_paths.root, cluster.keep.until
    if not trash.takes(host.layout, root):
        log.warning(
            "cluster %s cannot be undeleted: %s is on another file system than the trash", cluster.name, root
        )
        return None
    if cluster.deleted_at is not None and now - cluster.deleted_at > timedelta(seconds=late):
        until = max(until, now + timedelta(days=host.trash_days))  # the host was away for some of the time
    return replace(note, deleted_at=cluster.deleted_at, until=until)


def keeps(layout: Layout, cluster: Cluster) -> bool:
    """Return whether the data of a deleted cluster is in the trash; if it is not wanted, remove it."""
    if cluster.keep is None or cluster.deleted_at is None:
        return False
    entry = trash.find(layout, cluster.id, cluster.deleted_at)
    if entry is not None and cluster.keep.purged:
        log.info("cluster %s: %s is removed by command", cluster.name, entry.path)
        trash.remove(entry)
        return False
    return entry is not None


def take_back(layout: Layout, cluster: Cluster, node_name: str, *, is_needed: bool) -> None:
    """Bring the data of an undeleted cluster back from the trash, unless it is in its place.

    CenoteError if it is in neither and ``is_needed``: the node was online once, and is to be again.
    """
    undeletion = cluster.undeletion
    if undeletion is None or node_name not in undeletion.nodes:
        return
    node = layout.node(cluster.id, node_name)
    if files.mode_of(node.data) is not None:
        return
    entry = trash.find(layout, cluster.id, undeletion.deleted_at)
    if entry is None and not is_needed:
        return
    if entry is None:
        raise CenoteError(f"its data is neither in the trash of this host nor in its place: {node.data}")
    log.info("cluster %s: its data is brought back from %s", cluster.name, entry.path)
    trash.take_back(layout, entry)
