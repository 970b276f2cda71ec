"""What is missing of a cluster's names in the operator's name server, in words."""

from __future__ import annotations

from collections import defaultdict

from cenote.api.service import Service
from cenote.model.records import Cluster
from cenote.rules import host_names

UNDER_WAY = "the name server is being told"


def not_in_force(service: Service, cluster: Cluster) -> list[str]:
    """Return a line for each reason; none where nobody has asked for updates of a name server."""
    hosts, domain = service.store.hosts_by_id(), service.domain
    if domain is None or not any(one.server for one in service.store.names_in_dns.domains()):
        return []
    lacking: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, target in host_names.wanted_in_dns(
        cluster, hosts, domain, service.store.leader(cluster)
    ).items():
        known = service.store.names_in_dns.get(name)
        if known is None or known.cluster_id != cluster.id:
            lacking[target, ""].append(name)
        elif known.problem or known.target != target:
            lacking[target, known.problem].append(name)
    state = service.store.names_in_dns.state.problem
    return [
        f"{' and '.join(names)} {'does' if len(names) == 1 else 'do'} not lead to "
        f"{target or 'the host of the cluster'} for certain: {problem or state or UNDER_WAY}"
        for (target, problem), names in lacking.items()
    ]
