"""Allocation of metrics ports to nodes whose records were written before there were metrics ports.

New records get their port from the API.  For older ones the node's own host allocates it: the one change of a
cluster's record that is made to serve metrics, and it happens once for each node.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

import msgspec

from cenote.errors import Conflict, NotFound, Unavailable
from cenote.http.tls_listener import RETRY_SECONDS
from cenote.model.records import Cluster
from cenote.rules import port_allocation
from cenote.store import Store

log = logging.getLogger(__name__)


async def allocate(store: Store, host_name: str, cluster_id: UUID) -> None:
    """Write a port into the cluster's record, as soon as one is free; stop if the cluster is deleted."""
    warned = False
    while True:
        host = store.host(host_name)
        port = None if host is None else port_allocation.free_metrics_port(host, store.ports(host_name))
        try:
            if port is not None:
                await store.update_cluster(cluster_id, _with_port(host_name, port))
                return
        except (Unavailable, Conflict) as error:
            log.debug("no metrics port for %s yet: %s", cluster_id, error)
        except NotFound:
            return
        if host is not None and port is None and not warned:
            log.warning("no port is left for the metrics of cluster %s; widen --ports", cluster_id)
            warned = True
        await asyncio.sleep(RETRY_SECONDS)


def _with_port(host_name: str, port: int) -> Callable[[Cluster], Cluster]:
    def change(cluster: Cluster) -> Cluster:
        nodes = tuple(
            msgspec.structs.replace(node, metrics_port=port)
            if node.host == host_name and not node.metrics_port
            else node
            for node in cluster.nodes
        )
        return cluster if nodes == cluster.nodes else msgspec.structs.replace(cluster, nodes=nodes)

    return change
