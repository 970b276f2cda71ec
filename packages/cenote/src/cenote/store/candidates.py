"""What the store knows of the hosts that a node can be placed on; ``rules/scheduling.py`` chooses."""

from __future__ import annotations

from collections.abc import Mapping, Set

from cenote.rules import scheduling
from cenote.rules.scheduling import Candidate
from cenote.store.store import Store


def candidates(store: Store, refused_ports: Mapping[str, Set[int]]) -> list[Candidate]:
    """Return all hosts with what is promised of them; ``refused_ports`` are further ones that are taken."""
    hosts = store.known_hosts()
    return scheduling.candidates(
        hosts,
        {host.id: store.host_state(host.id) for host in hosts},
        store.drains().keys(),
        [stored.value for stored in store.clusters()],
        {host.id: store.ports(host.id) | refused_ports.get(host.id, frozenset()) for host in hosts},
    )
