"""Deleted clusters that can be undeleted: list them, remove one for good."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from http import HTTPMethod
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api import paging
from cenote.api.auth import DELETE, READ
from cenote.api.call import Call
from cenote.api.operation import answer, no_content, operation
from cenote.api.service import Service
from cenote.errors import NotFound
from cenote.http.routing import Response
from cenote.model.event_records import EventType
from cenote.model.records import Cluster
from cenote.rules import deletions
from cenote.rules.host_states import HostState
from cenote.store import Stored

PATH = "/v2/cenote/deleted"
ONE = PATH + "/{deleted_cluster_uuid}"


class Source(StrEnum):
    """Where the data of a deleted cluster come from: the trash of its host, or its backups."""

    TRASH = "trash"
    REPOSITORY = "repository"


class DeletedClusterView(msgspec.Struct, kw_only=True):
    """A deleted cluster that can be undeleted ``until`` then, from the trash of its ``host``.

    If that has its data no more, and there is a backup, ``source`` is ``repository`` in place of ``trash``.

    ``used_mib`` is what its data takes there.  ``name_taken``: another cluster has its name, so it needs a
    new one.  ``reason`` says why it cannot be undeleted now, and is left out if it can.
    """

    id: UUID
    name: str
    version: str
    size: str
    region: str
    host: str
    deleted_at: datetime
    until: datetime
    source: Source
    used_mib: int
    name_taken: bool
    reason: str | UnsetType = UNSET


class DeletedClustersAnswer(msgspec.Struct):
    deleted: list[DeletedClusterView]
    links: paging.Links
    meta: paging.Meta


@operation(HTTPMethod.GET, PATH, scope=READ, answer=DeletedClustersAnswer, paged=True)
async def list_deleted(request: Call) -> Response:
    """List the deleted clusters that can be undeleted, the last deleted first."""
    service = request.service
    found = [stored.value for stored in service.store.clusters() if _can_come_back(stored.value)]
    found.sort(key=lambda cluster: (cluster.deleted_at, cluster.id), reverse=True)
    page, links, meta = paging.page_of(request, found)
    return answer(DeletedClustersAnswer([_view(service, cluster) for cluster in page], links, meta))


@operation(HTTPMethod.DELETE, ONE, scope=DELETE, status=204)
async def purge_cluster(request: Call) -> Response:
    """Remove a deleted cluster for good; its data goes as soon as its host is there."""
    note = request.note(EventType.CLUSTER_DELETE)
    id = deleted_cluster(request).value.id
    await request.service.store.update_cluster(id, deletions.purged, note, deleted=True)
    return no_content()


def _can_come_back(cluster: Cluster) -> bool:
    return cluster.deleted_at is not None and cluster.keep is not None and not cluster.keep.purged


def deleted_cluster(request: Call) -> Stored[Cluster]:
    """Return the deleted cluster in the path."""
    try:
        id = UUID(request.path_params["deleted_cluster_uuid"])
    except ValueError:
        raise NotFound from None
    stored = request.service.store.cluster(id)
    if stored is None or not _can_come_back(stored.value):
        raise NotFound
    return stored


def _view(service: Service, cluster: Cluster) -> DeletedClusterView:
    assert cluster.deleted_at is not None
    assert cluster.keep is not None
    node = cluster.nodes[0]
    report, host = service.store.status(cluster.id, node.name), service.store.host(node.host)
    return DeletedClusterView(
        id=cluster.id,
        name=cluster.name,
        version=cluster.version,
        size=cluster.size,
        region=cluster.region,
        host=node.host if host is None else host.name,
        deleted_at=cluster.deleted_at.replace(microsecond=0),
        until=cluster.keep.until.replace(microsecond=0),
        source=source(service, cluster),
        used_mib=0 if report is None else report.used_mib,
        name_taken=service.store.cluster_by_name(cluster.name) is not None,
        reason=_hindrance(service, cluster) or UNSET,
    )


def source(service: Service, cluster: Cluster) -> Source:
    """Return where the data of a deleted cluster come from; from backups only where no trash has it."""
    node, keep = cluster.nodes[0], cluster.keep
    host, report = service.store.host(node.host), service.store.status(cluster.id, node.name)
    is_gone = host is None or node.lost_at is not None or deletions.is_gone(cluster, node, report)
    is_down = host is not None and service.store.host_state(host.id) is HostState.DOWN
    is_own = node.host == service.settings.host_id
    if keep is not None and keep.backed_up and (is_gone or (is_down and not is_own)):
        return Source.REPOSITORY
    return Source.TRASH


def _hindrance(service: Service, cluster: Cluster) -> str:
    """Return why a deleted cluster cannot be brought back now; nothing if it can."""
    if source(service, cluster) is Source.TRASH:
        return hindrance_at_host(service, cluster)
    if any(host.repository for host in service.store.hosts()):
        return ""
    return "It is in its backups alone, and no host that keeps backups is up."


def hindrance_at_host(service: Service, cluster: Cluster) -> str:
    """Return why the host of a deleted cluster cannot bring it back now; nothing if it can."""
    node = cluster.nodes[0]
    host, report = service.store.host(node.host), service.store.status(cluster.id, node.name)
    if host is None or node.lost_at is not None:
        return "Its host was removed, with its data."
    if deletions.is_gone(cluster, node, report):
        return f"Its data is not in the trash of {host.name} any more."
    if service.store.host_state(host.id) is not HostState.UP:
        return f"The host {host.name}, which has its data, does not answer. Try again when it is back."
    return ""


ROUTES = (list_deleted, purge_cluster)
