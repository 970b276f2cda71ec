"""What becomes of the nodes that have folders on a host: judged by positive evidence alone.

A node is taken off a disk only when the store that the data directory belongs to says so: by a tombstone, by
``deleted_at`` or by ``Cluster.left``, or when an operator has said so of one that is unknown.  What no record
names is not evidence: the store may be empty, older or another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from cenote.model.records import Cluster, Tombstone
from cenote.model.status_records import DiskUse
from cenote.rules import storage

NEARLY_FULL = 4  # times the space that is kept free: with less, the trash is emptied before its time


class Fate(StrEnum):
    """Kept: the node is in its record, or that cannot be read.  Unknown: it is left as it is, and told."""

    KEPT = "kept"
    REMOVED = "removed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a store says of a cluster, read at this moment.

    ``store`` is the store's id, None if it has none.  ``readable`` is false for a record that a newer version
    wrote, or that is damaged.
    """

    store: UUID | None = None
    record: Cluster | None = None
    tombstone: Tombstone | None = None
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    fate: Fate
    why: str = ""


def judge(
    node: str, host_id: str, evidence: Evidence, *, store: UUID | None = None, unwanted: bool = False
) -> Verdict:
    """Judge one node on the host with this id.

    ``store`` is the id of the store that the data directory belongs to, None if that is not known;
    ``unwanted``: an operator wants it removed, if it is unknown.
    """
    verdict = _by_store(node, host_id, evidence, store)
    if verdict.fate is Fate.UNKNOWN and unwanted:
        return Verdict(Fate.REMOVED, f"removed by command; {verdict.why}")
    return verdict


def _by_store(node: str, host_id: str, evidence: Evidence, store: UUID | None) -> Verdict:
    if store is not None and evidence.store != store:
        return Verdict(
            Fate.UNKNOWN, f"this data directory belongs to the store {store}, and this is another store"
        )
    if not evidence.readable:
        return Verdict(Fate.KEPT, "its record cannot be read by this version")
    record, stone = evidence.record, evidence.tombstone
    if record is None:
        if stone is None:
            return Verdict(Fate.UNKNOWN, "the store has neither a record of its cluster nor of its deletion")
        return Verdict(Fate.REMOVED, f"its cluster {stone.name} was deleted, and gone at {_time(stone.at)}")
    if any((one.name, one.host) == (node, host_id) for one in record.nodes):
        return Verdict(Fate.KEPT)
    if any((one.name, one.host) == (node, host_id) for one in record.left):
        return Verdict(Fate.REMOVED, _left(record))
    if record.deleted_at is not None:
        return Verdict(Fate.REMOVED, _deleted(record))
    other = next((one.host for one in record.nodes if one.name == node), None)
    if other is not None:
        return Verdict(Fate.UNKNOWN, f"the record of cluster {record.name} has it on another host ({other})")
    return Verdict(Fate.UNKNOWN, f"the record of cluster {record.name} has no such node")


def nodes_on(host_id: str, record: Cluster) -> set[str]:
    """Return the names of the nodes that a record has on a host, those to be removed included."""
    return {node.name for node in (*record.nodes, *record.left) if node.host == host_id}


def why_kept(cluster: Cluster, node: str, now: datetime, late: float) -> str:
    """Return why the data of a node that is removed is kept for some days; nothing if it is not.

    What a customer deletes for good goes at once, unless that comes so many seconds ``late`` that the host
    was away: somebody may have changed their mind by then.  What is purged goes whenever that is.
    """
    if cluster.keep is not None and cluster.keep.purged:
        return ""
    if cluster.keep is not None and any(one.name == node for one in cluster.nodes):
        return _deleted(cluster) + f", and can be undeleted until {_time(cluster.keep.until)}"
    if cluster.deleted_at is not None:
        return _deleted(cluster) if now - cluster.deleted_at > timedelta(seconds=late) else ""
    return _left(cluster) if any(one.name == node for one in cluster.left) else ""


def is_given_up(cluster: Cluster, node: str) -> bool:
    """Return whether a recovery has given a node up, so that its data may have what no backup has.

    That holds for a standby's, too: it may be the only copy left of what was not archived.
    """
    is_recovered = cluster.backups is not None and bool(cluster.backups.lineage)
    left = any(one.name == node for one in cluster.left)
    return is_recovered and left and all(_number(one.name) > _number(node) for one in cluster.nodes)


def is_kept(cluster: Cluster, node: str, *, ephemeral: bool) -> bool:
    """Return whether the data of a node of a deleted cluster is kept, so that it can be undeleted."""
    keep = cluster.keep
    there = any(one.name == node for one in cluster.nodes)
    return keep is not None and not keep.purged and there and not ephemeral


def is_needed(host_id: str, evidence: Evidence, deleted_at: datetime, *, store: UUID | None = None) -> bool:
    """Return whether data in the trash, of a cluster that was deleted at that time, must stay there.

    The cluster was undeleted, or the store is a copy from before the deletion, or it cannot tell.
    """
    if (store is not None and evidence.store != store) or not evidence.readable:
        return True
    record = evidence.record
    if record is None:
        return False
    if record.undeletion is not None and record.undeletion.deleted_at == deleted_at:
        return True
    return record.deleted_at is None and bool(nodes_on(host_id, record))


def is_forgotten(evidence: Evidence, *, store: UUID | None) -> bool:
    """Return whether a cluster is gone for good, and so its backups are nobody's.

    Only the store that the data directory belongs to can say so, and only by a tombstone.
    """
    if store is None or evidence.store != store or not evidence.readable:
        return False
    return evidence.record is None and evidence.tombstone is not None


def is_later(cluster: Cluster, node: str) -> bool:
    """Return whether a node that is to be removed was added after all that the cluster has.

    It was the target of a move that was given up, so it has never taken writes.  If its data says otherwise,
    the record is older than that.
    """
    left = any(one.name == node for one in cluster.left)
    if cluster.deleted_at is not None or not left:
        return False
    return all(_number(one.name) < _number(node) for one in cluster.nodes)


def _number(node: str) -> int:
    return int(node.rpartition("-")[2])


def _deleted(cluster: Cluster) -> str:
    assert cluster.deleted_at is not None
    return f"its cluster {cluster.name} was deleted at {_time(cluster.deleted_at)}"


def _left(cluster: Cluster) -> str:
    return f"its cluster {cluster.name} was moved to another host, or recovered there"


def is_over(at: datetime, now: datetime, days: int) -> bool:
    """Return whether the time in the trash of what got there at ``at`` is over."""
    return now - at > timedelta(days=days)


def is_nearly_full(use: DiskUse) -> bool:
    """Return whether a disk has so little space left that the trash is emptied before its time.

    That comes before writes are refused for it.
    """
    return use.free_mib < NEARLY_FULL * storage.reserve_mib(use)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
