"""Why clusters cannot be moved off a drained host yet."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from cenote.api import placement
from cenote.api.service import Service
from cenote.errors import CenoteError
from cenote.model.records import Cluster
from cenote.model.topology import has_standbys
from cenote.rules import moves, node_drains, record_formats
from cenote.rules.scheduling import Candidate

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
    candidates, found = placement.candidates(service), dict[str, str]()
    for cluster in here[:_LOOKED_AT]:
        if reason := _hindrance(service, host_id, cluster, candidates):
            found.setdefault(reason, cluster.name)
    return [f"{name} cannot be moved: {reason}" for reason, name in found.items()]


def _hindrance(service: Service, host_id: str, cluster: Cluster, candidates: list[Candidate]) -> str:
    seen, limits = service.report(cluster), placement.limits(service)
    try:
        if has_standbys(cluster):
            return _of_several(service, host_id, cluster, candidates)
        record_formats.check_readers(service.store.known_hosts())
        moves.check(cluster, seen, service.status(cluster))
        moves.target(cluster, candidates, limits=limits)
    except CenoteError as error:
        return str(error).rstrip(".")
    return ""


def _of_several(service: Service, host_id: str, cluster: Cluster, candidates: list[Candidate]) -> str:
    """Return what hinders the replacement of a node of several, "" for nothing; errors say so, too."""
    store, limits = service.store, placement.limits(service)
    leader, reports = store.leader(cluster), store.reports(cluster.id)
    waiting = node_drains.waits_for(cluster, leader, reports, store.presences().keys())
    node = node_drains.to_be_replaced(cluster, leader, {host_id})
    if waiting is not None or node is None:
        return waiting or ""
    record_formats.check_readers(store.known_hosts(), record_formats.WITH_NODES)
    node_drains.check(cluster, node, leader, reports, service.status(cluster))
    node_drains.target(placement.as_placed(service, cluster), node, candidates, limits)
    if leader == node.name:  # raises if no other node can take writes
        node_drains.switched(cluster, leader, reports, store.drains().keys(), datetime.now(UTC))
    return ""
