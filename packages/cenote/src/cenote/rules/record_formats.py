"""In which format a record is written, and whether every host can read it.  Pure.

A version reads all formats up to its own.  It would lose the fields that it does not know at its next write,
so what has new ones is written in a new format, which it leaves alone; and that only once the record of each
host says that its version reads it.  All else is written as before, so hosts can be upgraded one by one.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from cenote.errors import Busy
from cenote.model.fleet_records import Host
from cenote.model.records import Cluster

FIRST_WITH_FORMATS = 2
WITH_MOVES = 3
WITH_DELETIONS = WITH_BACKUPS = 4  # deletions that are refused, or can be taken back
WITH_RESTORES = 5
# Clusters of several nodes, of another major version or other data soon, or that follow another one.
WITH_NODES = WITH_MAJOR_UPGRADES = WITH_REPLICAS = WITH_MIGRATIONS = 6
HIGHEST = 6  # that this version reads

_WORDS = {
    WITH_MOVES: "moves",
    WITH_BACKUPS: "backups, or of clusters that are protected from deletion",
    WITH_RESTORES: "restores",
    WITH_NODES: "clusters of several nodes, read replicas, upgrades to another major version, or online "
    "migrations",
}


def needed(record: msgspec.Struct) -> int:
    """Return the lowest format that has all that a record says."""
    if isinstance(record, Cluster) and (record.major_upgrade or record.rehearsal or record.rehearsal_of):
        return WITH_MAJOR_UPGRADES
    if isinstance(record, Cluster) and _is_replica(record):
        return WITH_REPLICAS
    if isinstance(record, Cluster) and record.online_migration is not None:
        return WITH_MIGRATIONS
    if isinstance(record, Cluster) and _says_of_nodes(record):
        return WITH_NODES
    if isinstance(record, Cluster) and _is_restored(record):
        return WITH_RESTORES
    if isinstance(record, Cluster) and _is_kept(record):
        return WITH_DELETIONS
    if isinstance(record, Cluster) and _was_moved(record):
        return WITH_MOVES
    return FIRST_WITH_FORMATS


def check_readers(hosts: Iterable[Host], format: int = WITH_MOVES) -> None:
    """Raise Busy, with the name of a host, unless the versions of all hosts read a format."""
    behind = min((host for host in hosts if host.reads < format), key=lambda host: host.name, default=None)
    if behind is not None:
        raise Busy(
            f"{behind.name} runs {in_words(behind)}, which knows nothing of {_WORDS[format]}. "
            "Upgrade it first."
        )


def are_read(hosts: Iterable[Host], format: int = WITH_BACKUPS) -> bool:
    """Return whether the versions of all hosts read a format."""
    return all(host.reads >= format for host in hosts)


def is_behind(host: Host) -> bool:
    """Return whether a host runs a version that knows nothing of moves, as far as records tell."""
    return host.reads < WITH_MOVES


def in_words(host: Host) -> str:
    """Return what a host that is behind runs."""
    return f"an earlier Cenote ({host.cenote_version})" if host.cenote_version else "an earlier Cenote"


def _is_restored(cluster: Cluster) -> bool:
    """Return whether a record says something of data that comes from backups, or could, or of a drill."""
    plan = cluster.backups
    was_tried = plan is not None and (plan.lineage or plan.drill_asked_at is not None)
    can_be = cluster.keep is not None and cluster.keep.backed_up
    return cluster.restoration is not None or bool(was_tried or can_be)


def _says_of_nodes(cluster: Cluster) -> bool:
    """Return whether a record says something of nodes that stand by, or of what is left of such."""
    others = (
        *(cluster.distinct_hosts, cluster.switchover, cluster.restart_turn),
        *(cluster.primary, cluster.failover_login),
        *(node.replaces for node in cluster.nodes),
    )
    if cluster.backups is not None and cluster.backups.losses:
        return True
    if cluster.keep is not None and cluster.keep.nodes > 1:
        return True
    return any((*others, cluster.configuration.failover)) or (len(cluster.nodes) > 1 and cluster.move is None)


def _is_replica(cluster: Cluster) -> bool:
    """Return whether a record says something of a cluster that follows another one, or did."""
    return cluster.replica_of is not None or cluster.promote_asked_at is not None or cluster.copies != 1


def _is_kept(cluster: Cluster) -> bool:
    """Return whether a record says something of backups, or of a deletion that is refused or taken back."""
    kept = (cluster.backups, cluster.delete_protection, cluster.keep, cluster.undeletion)
    return any(kept) or cluster.undelete_days is not None


def _was_moved(cluster: Cluster) -> bool:
    """Return whether a record says something of a move, or of a node that was lost with its host."""
    has_moved = cluster.move is not None or bool(cluster.left) or cluster.last_node > 0
    return has_moved or any(node.lost_at is not None for node in cluster.nodes)
