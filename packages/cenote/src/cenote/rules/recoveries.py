"""Clusters that are recovered from their backups: when that may be, where, and what they are then.  Pure.

A cluster is recovered when its data cannot be had where it was: its host was removed as lost, is down, or has
no data directory any more.  A new node takes the place of the former one, with a number of its own, and its
server archives under a mark that is newer than that of the former one (``lineages``).
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from msgspec.structs import replace

from cenote.errors import Busy, Invalid
from cenote.model import catalog
from cenote.model.fleet_records import Host
from cenote.model.records import Cluster, Node, Restoration
from cenote.model.restores import Restored
from cenote.model.status_records import NodeStatus
from cenote.rules import major_upgrades, moves, online_migrations, scheduling
from cenote.rules.host_states import DOWN_SECONDS, HostState
from cenote.rules.scheduling import NO_LIMITS, Candidate, Overcommit, Wanted


class Loss(StrEnum):
    """Why the data of a node cannot be had: its host was removed, is down, or has no data directory."""

    REMOVED = "removed"
    DOWN = "down"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node as the store shows it.  ``data_missing``: its living agent says so.  ``name`` is its host's."""

    node: Node
    name: str
    state: HostState
    data_missing: bool = False


def lost_node(cluster: Cluster) -> Node:
    """Return the node whose data is to be recovered: the one that takes writes."""
    move = cluster.move
    if move is not None:
        return next(node for node in cluster.nodes if node.name == move.writer)
    return next((node for node in cluster.nodes if node.name == cluster.primary), cluster.nodes[0])


def loss(cluster: Cluster, seen: NodeSeen, others: Iterable[NodeSeen] = ()) -> Loss:
    """Return why a cluster may be recovered; Busy, in words, if it may not now.

    ``seen`` is the node that took writes, ``others`` are those that stood by: one of them that is there takes
    over, so nothing is to be recovered.
    """
    restoration = cluster.restoration
    if restoration is not None and (restoration.fork or _is_there(seen)):
        raise Busy("The cluster is being restored from backups already.")
    if cluster.backups is None:
        raise Busy("No backups were kept of this cluster, so there is nothing to recover it from.")
    found = _loss(seen)
    for other in others:
        _loss(other)
    if cluster.move is not None and found is not Loss.REMOVED:
        raise Busy("The cluster is being moved to another host. Cancel the move first.")
    return found


def _is_there(seen: NodeSeen) -> bool:
    return seen.node.lost_at is None and seen.state is HostState.UP


def _loss(seen: NodeSeen) -> Loss:
    if seen.node.lost_at is not None:
        return Loss.REMOVED
    match seen.state:
        case HostState.DOWN:
            return Loss.DOWN
        case HostState.AWAY:
            raise Busy(
                f"{seen.name}, the host of the cluster, does not answer, but for less than "
                f"{DOWN_SECONDS:.0f} seconds; it may only be restarted. Try again later."
            )
        case HostState.UP if seen.data_missing:
            return Loss.MISSING
    raise Busy(
        f"{seen.name}, the host of the cluster, is up and has its data. A cluster is recovered only where "
        "its host is lost or down, or its data directory is missing. A copy of its data of a former moment "
        "is a fork."
    )


def target(
    cluster: Cluster,
    found: Loss,
    candidates: Iterable[Candidate],
    *,
    host: str = "",
    zone: str = "",
    limits: Overcommit = NO_LIMITS,
    spared: Set[str] = frozenset(),
) -> Node:
    """Return the node that takes the place of the lost one, with its ports where they are free.

    Where only the data directory is missing, it is on the same host, unless another one is wished.
    ``spared`` are the ids of hosts that are not to have it now.  Raises Invalid for a wish that cannot be
    fulfilled, Busy and Unavailable while no host takes it.
    """
    every, lost = list(candidates), lost_node(cluster)
    here = next((one for one in every if one.host.id == lost.host), None)
    is_here = found is Loss.MISSING and here is not None and lost.host not in spared
    if is_here and here is not None and _is_meant(here.host, host, zone) and here.host.repository:
        return replace(lost, name=moves.next_name(cluster))
    others = [one for one in every if one.host.id != lost.host]
    if host and here is not None and host in (here.host.name, here.host.id):
        raise Busy(f"host: {here.host.name} is the host that the cluster is to be recovered from.")
    without = spared | {node.host for node in cluster.left}
    return placed(cluster, lost, others, host=host, zone=zone, limits=limits, without=without)


def placed(
    cluster: Cluster,
    former: Node,
    candidates: list[Candidate],
    *,
    host: str = "",
    zone: str = "",
    limits: Overcommit = NO_LIMITS,
    without: Set[str] = frozenset(),
) -> Node:
    """Return a node on one of these hosts that keeps backups, with the ports of the former one, if free."""
    keeping = [one for one in candidates if one.host.repository]
    wanted = Wanted(
        version=cluster.version,
        memory_mib=catalog.SIZES[cluster.size].memory_mib,
        storage_mib=cluster.storage_mib,
        host=host,
        zone=zone,
    )
    _check_wish(wanted, candidates, keeping, without, limits)
    chosen = scheduling.choose(wanted, keeping, limits, without)
    there = next(one for one in keeping if one.host.id == chosen.host.id)
    node = Node(
        name=moves.next_name(cluster),
        host=chosen.host.id,
        port=chosen.port,
        pool_port=chosen.pool_port,
        metrics_port=chosen.metrics_port,
    )
    return moves.with_ports_of(former, node, there)


def _is_meant(there: Host, host: str, zone: str) -> bool:
    return host in ("", there.name, there.id) and zone in ("", there.zone)


def _check_wish(
    wanted: Wanted,
    every: list[Candidate],
    keeping: list[Candidate],
    without: Set[str],
    limits: Overcommit,
) -> None:
    """Raise Invalid for a wish that cannot be fulfilled, Busy when no host is left that keeps backups."""
    if wanted.host:
        named = next((one for one in every if wanted.host in (one.host.name, one.host.id)), None)
        if named is None:
            raise Invalid(f"host: there is no host named {wanted.host[:80]!a}.")
        if not named.host.repository:
            raise Busy(f"host: {named.host.name} keeps no backups; start it with --backups.")
        if named.host.id in without or (reason := scheduling.hindrance(wanted, named, limits)):
            raise Busy(f"host: {named.host.name} {reason or 'does not take it now'}.")
    if not keeping:
        raise Busy("No host that it could be on keeps backups, so none can read those of the cluster.")


def recovered(
    cluster: Cluster, node: Node, now: datetime, mark: str, standbys: tuple[Node, ...] = (), version: str = ""
) -> Cluster:
    """Return the cluster with its data to be restored to a new node; ``mark`` is what it archives under.

    ``version`` is the major version of its newest backup, "" if that is not known: after an upgrade there may
    be none of the new version yet, and before the end of one there may be some.

    The ``standbys`` copy the data when they are there.

    The former node is removed from its host once that is there again, and its data goes to the trash.  Of one
    without data nothing is removed: the new node is in the same place.
    """
    assert cluster.backups is not None
    at = now.replace(microsecond=0)
    hosts = {one.host for one in (node, *standbys)}
    former = [one for one in cluster.nodes if one.lost_at is None and one.host not in hosts]
    # The backups are of the former version, and of a former moment.
    before = online_migrations.given_up(major_upgrades.withdrawn(cluster))
    return replace(
        before,
        version=version or before.version,
        nodes=(node, *standbys),
        left=(*cluster.left, *former),
        move=None,
        last_node=max(_number(one) for one in (node, *standbys)),
        switchover=None,
        primary="",
        undeletion=None,
        backups=replace(cluster.backups, lineage=mark),
        restoration=Restoration(
            node=node.name,
            source=cluster.id,
            asked_at=at,
            sealed_passphrase=cluster.backups.sealed_passphrase,
            fork=False,
        ),
    )


def version_change(cluster: Cluster, version: str) -> list[str]:
    """Return in words that the newest backup is of another major version than a cluster, if it is."""
    if version in ("", cluster.version):
        return []
    return [f"It has PostgreSQL {version}, of which its newest backup is, and had {cluster.version}."]


def _number(node: Node) -> int:
    return int(node.name.rpartition("-")[2])


def is_over(cluster: Cluster, report: NodeStatus | None) -> bool:
    """Return whether a recovered cluster has its data, so that nothing is left to restore."""
    restoration = cluster.restoration
    if restoration is None or restoration.fork or restoration.source != cluster.id:
        return False
    restored = None if report is None else report.restored
    return restored is not None and restored.asked_at == restoration.asked_at


def in_words(restored: Restored) -> str:
    """Return what came of a recovery."""
    at = restored.transaction_at
    if at is None:
        return "has its data again, from its backups"
    return f"has its data again, from its backups; its last transaction is of {at:%Y-%m-%d %H:%M:%S} UTC"


def missing_seconds(archived_at: datetime | None, lost_at: datetime) -> int | None:
    """Return how many seconds may be missing: those between the last archived WAL and the loss.

    None if no WAL was archived, so that this is not known.
    """
    if archived_at is None:
        return None
    return max(0, round((lost_at - archived_at).total_seconds()))
