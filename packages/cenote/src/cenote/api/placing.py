"""Where a node goes: which host, and which pair of its ports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cenote import catalog
from cenote.domain import Cluster, Host
from cenote.errors import Busy, Unavailable


@dataclass(frozen=True, slots=True)
class Place:
    """A host and the first port of a pair: the server's; the pooler's is the next."""

    host: Host
    port: int


def place(
    version: str, hosts: Iterable[Host], clusters: Iterable[Cluster], taken: dict[str, set[int]]
) -> Place:
    """Return the place on the host with the most memory left; sizes may promise more than a host has.

    ``taken`` has the claimed ports of each host.  A cluster that is being removed still counts: it is there.
    """
    able = [host for host in hosts if version in host.versions]
    if not able:
        raise Unavailable(f"No host with PostgreSQL {version} is up.")
    promised = dict.fromkeys((host.name for host in able), 0)
    for cluster in clusters:
        for node in cluster.nodes:
            if node.host in promised:
                promised[node.host] += catalog.SIZES[cluster.size].memory_mib
    for host in sorted(able, key=lambda host: promised[host.name] - host.memory_mib):
        for port in _free_pairs(host, taken.get(host.name, set())):
            return Place(host, port)
    raise Busy("Every pair of ports on every host is taken; delete a cluster or widen the range.")


def _free_pairs(host: Host, claimed: set[int]) -> Iterator[int]:
    closed = claimed | set(host.busy_ports)
    for port in range(host.first_port, host.last_port, 2):
        if port not in closed and port + 1 not in closed:
            yield port
