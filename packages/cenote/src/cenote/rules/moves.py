"""Whether a cluster can be moved to another host, and which one takes it.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Set
from datetime import datetime

from msgspec.structs import replace

from cenote.errors import Busy, Invalid
from cenote.model import catalog
from cenote.model.fleet_records import HostRole
from cenote.model.records import Cluster, ClusterStatus, Move, MoveStage, Node
from cenote.model.status_records import NodeStatus
from cenote.rules import major_upgrades, online_migrations, port_allocation, replicas, scheduling
from cenote.rules.host_states import HostState
from cenote.rules.move_progress import node_of
from cenote.rules.scheduling import NO_LIMITS, Candidate, Overcommit, Wanted

WITHOUT_ADDRESS = "was started without --address, so no cluster can be copied from it or to it"
_SLOTS = 3  # named in a message


def next_name(cluster: Cluster) -> str:
    """Return the name of a further node, which no node of the cluster has had."""
    return f"node-{max(cluster.last_node, *map(_number, cluster.nodes)) + 1}"


def _number(node: Node) -> int:
    return int(node.name.rpartition("-")[2])


def begun(cluster: Cluster, target: Node, now: datetime) -> Cluster:
    """Return the cluster with its move to a new node begun."""
    [source] = cluster.nodes
    at = now.replace(microsecond=0)
    move = Move(source=source.name, target=target.name, asked_at=at, since=at)
    return replace(cluster, nodes=(source, target), move=move, last_node=_number(target))


def backed_out(cluster: Cluster) -> Cluster:
    """Return the cluster without its move, which has not reached LEAVING: its target is to be removed."""
    assert cluster.move is not None
    source, target = (node_of(cluster, name) for name in (cluster.move.source, cluster.move.target))
    return replace(cluster, nodes=(source,), move=None, left=(*cluster.left, target))


def cancelled(cluster: Cluster) -> Cluster:
    """Return the cluster without its move; Busy once that cannot be taken back, and Invalid without one."""
    if cluster.move is None:
        raise Invalid("The cluster is not being moved.")
    if cluster.move.stage is MoveStage.LEAVING:
        raise Busy("The cluster has moved: its new host takes writes already. Move it back instead.")
    if node_of(cluster, cluster.move.source).lost_at is not None:
        raise Busy(
            "The host of the cluster was removed as lost, and what was copied may be all that is left of its "
            "data. Cancelling would remove that; delete the cluster if nobody needs it."
        )
    return backed_out(cluster)


def check(cluster: Cluster, seen: NodeStatus | None, status: ClusterStatus) -> None:
    """Raise Busy for a cluster that cannot be moved now, Invalid for one that cannot as it is."""
    if len(cluster.nodes) != 1 and cluster.move is None:
        raise Invalid(
            "Only a cluster with one node can be moved. Drain a host to have its nodes of other clusters "
            "replaced by nodes elsewhere."
        )
    check_settled(cluster, seen, status)
    if seen is not None:
        check_slots(seen)


def check_settled(cluster: Cluster, seen: NodeStatus | None, status: ClusterStatus) -> None:
    """Raise Busy while something else is done with a cluster, Invalid for a read replica.

    ``seen`` is of the node that takes writes.
    """
    major_upgrades.check_none(cluster)
    online_migrations.check_none(cluster)
    if cluster.replica_of is not None:
        raise Invalid(replicas.refusal(cluster, None, replicas.NOT_MOVED))
    if cluster.move is not None:
        raise Busy("The cluster is being moved already. Wait until that is over, or cancel it.")
    if status is not ClusterStatus.ONLINE or seen is None:
        raise Busy(f"update cluster cannot be performed. Reason: cluster is {status}")


def check_slots(seen: NodeStatus) -> None:
    """Raise Invalid for a writer with logical replication slots, which no other server has."""
    if seen.logical_slots:
        more = ", …" if len(seen.logical_slots) > _SLOTS else ""
        raise Invalid(
            "A cluster with logical replication slots cannot be moved, since they would not come along. "
            f"Drop them first: {', '.join(seen.logical_slots[:_SLOTS])}{more}."
        )


def target(
    cluster: Cluster,
    candidates: Iterable[Candidate],
    *,
    host: str = "",
    zone: str = "",
    limits: Overcommit = NO_LIMITS,
    spared: Set[str] = frozenset(),
) -> Node:
    """Return the node that a cluster can be moved to, on another host.

    It gets the ports of the present one where they are free.  ``host``, a name or an id, and ``zone`` are
    wishes; ``spared`` are the ids of hosts that are not to have it now.  Raises Invalid for a wish that
    cannot be fulfilled, Busy and Unavailable while no host takes it.
    """
    every = list(candidates)
    source = cluster.nodes[0]
    _check_reachable(source, every)
    wanted = Wanted(
        version=cluster.version,
        memory_mib=catalog.SIZES[cluster.size].memory_mib,
        storage_mib=cluster.storage_mib,
        host=host,
        zone=zone,
    )
    without = {node.host for node in (*cluster.nodes, *cluster.left)}
    without |= spared | {one.host.id for one in every if not one.host.fleet_address}
    if host:
        _check_wish(wanted, every, source, without, limits)
    else:
        _check_left(source, [one for one in every if HostRole.DATABASE in one.host.roles], without, zone)
    chosen = scheduling.choose(wanted, every, limits, without)
    there = next(one for one in every if one.host.id == chosen.host.id)
    node = Node(
        name=next_name(cluster),
        host=chosen.host.id,
        port=chosen.port,
        pool_port=chosen.pool_port,
        metrics_port=chosen.metrics_port,
    )
    return with_ports_of(source, node, there)


def _check_reachable(source: Node, every: list[Candidate]) -> None:
    """Raise Busy when hosts cannot copy from one another, or there is only one."""
    others = [one.host for one in every if one.host.id != source.host and HostRole.DATABASE in one.host.roles]
    if not others:
        raise Busy("There is no other host that runs clusters.")
    here = next((one for one in every if one.host.id == source.host), None)
    if here is not None and here.state is not HostState.UP:
        raise Busy(f"The host of the cluster, {here.host.name}, does not answer.")
    if here is not None and not here.host.fleet_address:
        raise Busy(f"The host of the cluster, {here.host.name}, {WITHOUT_ADDRESS}.")
    if not any(host.fleet_address for host in others):
        raise Busy(f"Each other host {WITHOUT_ADDRESS}.")


def _check_left(source: Node, every: list[Candidate], without: Set[str], zone: str) -> None:
    """Raise Busy when no host is left to choose from, Invalid when there is none in a zone that is wished."""
    there = [one for one in every if not zone or one.host.zone == zone]
    if any(one.host.id not in without for one in there):
        return
    if any(one.host.id != source.host for one in there):
        raise Busy(
            f"{'zone: each' if zone else 'Each'} other host{' of that zone' if zone else ''} cannot be "
            "reached, still removes a former node of the cluster, or has failed to copy one; try again later."
        )
    if there:
        raise Invalid("zone: the cluster is in that zone already, and no other host is.")
    zones = sorted({one.host.zone for one in every} - {""})
    offered = f"; there is {', '.join(zones)}" if zones else "; no host is in one"
    raise Invalid(f"zone: no host is in the zone {zone[:80]!a}{offered}.")


def _check_wish(
    wanted: Wanted, every: list[Candidate], source: Node, without: Set[str], limits: Overcommit
) -> None:
    named = next((one for one in every if wanted.host in (one.host.name, one.host.id)), None)
    if named is None:
        raise Invalid(f"host: there is no host named {wanted.host[:80]!a}.")
    if named.host.id == source.host:
        raise Invalid(f"host: the cluster is on {named.host.name} already.")
    if not named.host.fleet_address:
        raise Busy(f"host: {named.host.name} {WITHOUT_ADDRESS}.")
    if named.host.id in without:
        raise Busy(f"host: {named.host.name} still removes a former node of the cluster; try again later.")
    reason = scheduling.hindrance(wanted, named, limits)
    if not reason:
        return
    words = f"host: {named.host.name} {reason}."
    # What is over some day, and what is not.
    is_passing = named.state is not HostState.UP or named.drained or scheduling.lacking(wanted, named, limits)
    raise Busy(words) if is_passing else Invalid(words)


def with_ports_of(source: Node, node: Node, there: Candidate) -> Node:
    """Return a node with the ports of the present one, as far as they are free on its host."""
    host = there.host
    taken = there.taken | set(host.busy_ports)

    def is_free(*ports: int) -> bool:
        return all(port and port not in taken and host.first_port <= port <= host.last_port for port in ports)

    if is_free(source.port, source.pool_port):
        pair = {source.port, source.pool_port}
        metrics_port = node.metrics_port
        if metrics_port in pair:
            metrics_port = port_allocation.free_metrics_port(host, taken | pair) or 0
        if metrics_port:
            node = replace(node, port=source.port, pool_port=source.pool_port, metrics_port=metrics_port)
    if is_free(source.metrics_port) and source.metrics_port not in (node.port, node.pool_port):
        node = replace(node, metrics_port=source.metrics_port)
    return node
