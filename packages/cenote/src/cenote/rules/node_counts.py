"""More and fewer nodes of a cluster.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from msgspec.structs import replace

from cenote.errors import Busy, Invalid
from cenote.model.records import Cluster, Node
from cenote.model.status_records import NodeStatus
from cenote.model.topology import node_count
from cenote.rules import major_upgrades, moves, online_migrations, replacements
from cenote.rules.scheduling import Placement


def check(cluster: Cluster, count: int) -> None:
    """Raise Busy for a cluster whose number of nodes cannot be changed now, Invalid for a read replica."""
    if count == node_count(cluster):
        return
    if cluster.replica_of is not None:
        raise Invalid(f"num_nodes: a read replica has 1 node, not {count}.")
    major_upgrades.check_none(cluster)
    online_migrations.check_none(cluster)
    if cluster.move is not None:
        raise Busy("The cluster is being moved to another host. Wait until that is over, or cancel it.")
    if cluster.switchover is not None:
        raise Busy("Another node is about to take writes. Wait until that is over, or cancel it.")
    replacements.check_none(cluster)


def grown(cluster: Cluster, placed: Iterable[Placement], now: datetime) -> Cluster:
    """Return the cluster with further nodes, whose names no node of it has had."""
    first = int(moves.next_name(cluster).rpartition("-")[2])
    more = tuple(
        Node(
            name=f"node-{number}",
            host=one.host.id,
            port=one.port,
            pool_port=one.pool_port,
            metrics_port=one.metrics_port,
            added_at=now.replace(microsecond=0),
        )
        for number, one in enumerate(placed, first)
    )
    return replace(cluster, nodes=(*cluster.nodes, *more), last_node=first + len(more) - 1)


def shrunk(
    cluster: Cluster,
    count: int,
    leader: str | None,
    reports: Mapping[str, NodeStatus],
    drained: Collection[str] = (),
) -> Cluster:
    """Return the cluster with so many nodes, those that serve least or are on drained hosts removed.

    The node that takes writes stays; Busy while none does.
    """
    primary = next((node for node in cluster.nodes if node.name == leader), None)
    if primary is None:
        raise Busy("No node takes writes at this moment; another one is about to.")

    def worth(node: Node) -> tuple[bool, ...]:
        """Sort the nodes that are best kept first."""
        seen = reports.get(node.name)
        follows = seen is not None and seen.standby is not None and seen.standby.streaming
        is_bad = node.lost_at is not None or node.host in drained
        return node is not primary, is_bad, not follows, node.host == primary.host

    kept = sorted(cluster.nodes, key=worth)[:count]
    left = tuple(node for node in cluster.nodes if node not in kept)
    nodes = tuple(node for node in cluster.nodes if node in kept)
    last = max(cluster.last_node, *(int(node.name.rpartition("-")[2]) for node in cluster.nodes))
    told = cluster.primary if count > 1 else ""
    return replace(cluster, nodes=nodes, left=(*cluster.left, *left), last_node=last, primary=told)
