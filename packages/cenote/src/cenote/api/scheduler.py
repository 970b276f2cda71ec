"""Scheduling: the choice of a host and of ports for a new node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cenote.errors import Busy, Unavailable
from cenote.model import catalog
from cenote.model.records import Cluster, Host
from cenote.rules import port_allocation


@dataclass(frozen=True, slots=True)
class Placement:
    host: Host
    port: int
    pool_port: int
    metrics_port: int


def schedule(
    version: str, hosts: Iterable[Host], clusters: Iterable[Cluster], taken: dict[str, set[int]]
) -> Placement:
    """Return a placement on the host with the most unallocated memory; memory may be overcommitted.

    ``taken`` has the allocated ports of each host.  A cluster that is being deleted still counts.
    """
    able = [host for host in hosts if version in host.versions]
    if not able:
        raise Unavailable(f"No host with PostgreSQL {version} is up.")
    promised = dict.fromkeys((host.id for host in able), 0)
    for cluster in clusters:
        for node in cluster.nodes:
            if node.host in promised:
                promised[node.host] += catalog.SIZES[cluster.size].memory_mib
    for host in sorted(able, key=lambda host: promised[host.id] - host.memory_mib):
        closed = taken.get(host.id, set())
        port = port_allocation.free_pair(host, closed)
        if port is not None:
            metrics_port = port_allocation.free_metrics_port(host, closed | {port, port + 1})
            if metrics_port is not None:
                return Placement(host, port, port + 1, metrics_port)
    raise Busy("Every port on every host is taken; delete a cluster or widen the range.")
