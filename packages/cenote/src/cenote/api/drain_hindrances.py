"""Why clusters cannot be moved off a drained host yet."""

from __future__ import annotations

from collections.abc import Iterable

from cenote.api import placement
from cenote.api.service import Service
from cenote.errors import CenoteError
from cenote.model.records import Cluster
from cenote.rules import moves, record_formats

_LOOKED_AT = 20  # clusters; a host may have thousands


def hindrances(service: Service, host_id: str, clusters: Iterable[Cluster]) -> list[str]:
    """Return what hinders the move of clusters off a host, in words, each reason with one of its clusters."""
    here = [
        cluster
        for cluster in clusters
        if cluster.deleted_at is None
        and cluster.move is None
        and any(node.host == host_id for node in cluster.nodes)
    ]
    candidates, limits = placement.candidates(service), placement.limits(service)
    found: dict[str, str] = {}
    for cluster in here[:_LOOKED_AT]:
        seen = service.report(cluster)
        try:
            record_formats.check_readers(service.store.known_hosts())
            moves.check(cluster, seen, service.status(cluster))
            moves.target(cluster, candidates, limits=limits)
        except CenoteError as error:
            found.setdefault(str(error).rstrip("."), cluster.name)
    return [f"{name} cannot be moved: {reason}" for reason, name in found.items()]
