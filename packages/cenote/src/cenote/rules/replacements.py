"""The node of a cluster with several that is replaced by one on another host: the record meanwhile.  Pure.

The new node says so (``Node.replaces``), and nothing else does.
"""

from __future__ import annotations

from msgspec.structs import replace

from cenote.errors import Busy
from cenote.model.records import Cluster, Node
from cenote.model.topology import replacement

UNDER_WAY = (
    "A node of the cluster is being replaced, since its host is drained. Wait until that is over, or stop "
    "the draining."
)


def check_none(cluster: Cluster) -> None:
    """Raise Busy while a node of a cluster is being replaced."""
    if replacement(cluster) is not None:
        raise Busy(UNDER_WAY)


def finished(cluster: Cluster, former: Node, new: Node) -> Cluster:
    """Return the cluster with the new node in the place of the former one, which is to be removed."""
    return _without(cluster, former, new)


def given_up(cluster: Cluster, new: Node) -> Cluster:
    """Return the cluster without the new node, which is to be removed."""
    return _without(cluster, new, new)


def _without(cluster: Cluster, gone: Node, new: Node) -> Cluster:
    settled = {node.name: replace(node, replaces="") if node is new else node for node in cluster.nodes}
    left = settled.pop(gone.name)
    return replace(cluster, nodes=tuple(settled.values()), left=(*cluster.left, left))
