"""Deleted clusters that can be undeleted: list them, bring one back, remove one for good."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPMethod
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from cenote import rules
from cenote.api import paging, placement, schema_fields
from cenote.api import recoveries as recoveries_api
from cenote.api.auth import CREATE, DELETE, READ
from cenote.api.call import Call
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.service import Service
from cenote.api.views import ClusterView, cluster_view
from cenote.errors import Busy, Conflict, Invalid, NotFound, Unavailable
from cenote.http.routing import Response
from cenote.model import catalog
from cenote.model.event_records import EventType
from cenote.model.fleet_records import Host
from cenote.model.groups import DEFAULT_PROJECT
from cenote.model.parts import PartName
from cenote.model.records import Cluster, Node
from cenote.rules import deletions, record_formats, recoveries, scheduling
from cenote.rules.host_states import HostState
from cenote.rules.scheduling import Wanted
from cenote.store import NameTaken, PortTaken, Stored

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


class UndeleteCluster(Body):
    """A new name, which is needed if another cluster has the former one.

    ``host`` is wished for data that come from the repository; those in a trash stay on their host.
    """

    name: schema_fields.ClusterName | None = None
    host: schema_fields.WishedHost | None = None


class UndeletedAnswer(msgspec.Struct):
    """The cluster, and in words what is not as it was."""

    database: ClusterView
    changed: list[str]


@operation(HTTPMethod.GET, PATH, scope=READ, answer=DeletedClustersAnswer, paged=True)
async def list_deleted(request: Call) -> Response:
    """List the deleted clusters that can be undeleted, the last deleted first."""
    service = request.service
    found = [stored.value for stored in service.store.clusters() if _can_come_back(stored.value)]
    found.sort(key=lambda cluster: (cluster.deleted_at, cluster.id), reverse=True)
    page, links, meta = paging.page_of(request, found)
    return answer(DeletedClustersAnswer([_view(service, cluster) for cluster in page], links, meta))


@operation(
    HTTPMethod.POST,
    ONE + "/undelete",
    scope=CREATE,
    body=UndeleteCluster,
    answer=UndeletedAnswer,
    also=(409, 412),
)
async def undelete_cluster(request: Call) -> Response:
    """Bring a deleted cluster back, with its data, users, passwords, pools and settings, and the same id.

    It gets its former ports if they are free.  A project or VPC that was deleted meanwhile is replaced by the
    default one.
    """
    service, before = request.service, _deleted(request).value
    body = await request.decoded(UndeleteCluster)
    name = before.name if body.name is None else body.name
    rules.cluster_name(name, in_domain=service.domain is not None)
    await _check_name(service, before, name)
    wish, _ = placement.wish(body.host, None)
    if _source(service, before) is Source.REPOSITORY:
        return await _from_repository(request, before, name, wish)
    if wish:
        raise Invalid("host: its data is in the trash of its host, and stays there. Move the cluster then.")
    await _wait_until_put_away(service, before, _check_host(service, before))
    before = _deleted(request).value
    host = _check_host(service, before)
    stored = await _undeleted(request, before, name, host)
    return await _answered(request, before, stored)


async def _answered(request: Call, before: Cluster, stored: Stored[Cluster]) -> Response:
    service = request.service
    await service.wait_until_in_force(stored, frozenset(PartName), required=False)
    now = service.store.cluster(before.id) or stored
    view = cluster_view(service, now.value, credentials=request.caller.sees_credentials)
    return answer(UndeletedAnswer(view, _changes(service, before, stored.value)))


@operation(HTTPMethod.DELETE, ONE, scope=DELETE, status=204)
async def purge_cluster(request: Call) -> Response:
    """Remove a deleted cluster for good; its data goes as soon as its host is there."""
    note = request.note(EventType.CLUSTER_DELETE)
    id = _deleted(request).value.id
    await request.service.store.update_cluster(id, deletions.purged, note, deleted=True)
    return no_content()


def _can_come_back(cluster: Cluster) -> bool:
    return cluster.deleted_at is not None and cluster.keep is not None and not cluster.keep.purged


def _deleted(request: Call) -> Stored[Cluster]:
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
        source=_source(service, cluster),
        used_mib=0 if report is None else report.used_mib,
        name_taken=service.store.cluster_by_name(cluster.name) is not None,
        reason=_hindrance(service, cluster) or UNSET,
    )


def _source(service: Service, cluster: Cluster) -> Source:
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
    if _source(service, cluster) is Source.TRASH:
        return _hindrance_at_host(service, cluster)
    if any(host.repository for host in service.store.hosts()):
        return ""
    return "It is in its backups alone, and no host that keeps backups is up."


def _hindrance_at_host(service: Service, cluster: Cluster) -> str:
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


def _check_host(service: Service, cluster: Cluster) -> Host:
    """Return the host that has the data of a deleted cluster; an error if it cannot bring that back."""
    node = cluster.nodes[0]
    host, why = service.store.host(node.host), _hindrance_at_host(service, cluster)
    if why and host is not None and service.store.host_state(host.id) is not HostState.UP:
        raise Unavailable(why)
    if why or host is None:
        raise Conflict(why or "Its host was removed.")
    if cluster.version not in host.versions:
        raise Busy(f"{host.name} has no PostgreSQL {cluster.version} any more.")
    if cluster.is_put_away:
        [there] = [one for one in placement.candidates(service) if one.host.id == host.id]
        size = catalog.SIZES[cluster.size]
        wanted = Wanted(version=cluster.version, memory_mib=size.memory_mib, storage_mib=cluster.storage_mib)
        if told := scheduling.lacking(wanted, there, placement.limits(service)):
            raise Busy(f"{host.name}, which has its data, {told}. Move a cluster to another host first.")
    return host


async def _wait_until_put_away(service: Service, cluster: Cluster, host: Host) -> None:
    """Wait, as long as a change waits, until the host has said what has become of the data of this deletion.

    Conflict when it has not: the data may not be kept.
    """
    node = cluster.nodes[0]

    def said() -> bool | None:
        return deletions.was_removed(cluster, service.store.status(cluster.id, node.name)) or None

    if not await service.store.wait(said, service.settings.wait_seconds):
        raise Conflict(f"It is being stopped and put away on {host.name}; try again.")


async def _check_name(service: Service, cluster: Cluster, name: str) -> None:
    if service.store.cluster_by_name(name) is None:
        return
    await service.store.confirm_name(name)
    if (other := service.store.cluster_by_name(name)) is not None:
        raise _name_taken(cluster, name, other.value.id)


def _name_taken(cluster: Cluster, name: str, other: UUID | None = None) -> Invalid:
    whose = "another cluster" if other is None else f"the cluster {other}"
    return Invalid(
        f'name: {name} is the name of {whose}. Choose another one: {{"name": "NAME"}}, or '
        f"'cenote cluster undelete {cluster.id} --name NAME'."
    )


async def _undeleted(request: Call, before: Cluster, name: str, host: Host) -> Stored[Cluster]:
    """Write the record of the cluster as it is when it is back."""
    service, note, refused = request.service, request.note(EventType.CLUSTER_CREATE), set[int]()
    while True:
        nodes = await _nodes(service, before, host, refused)

        def undeleted(current: Cluster, nodes: tuple[Node, ...] = nodes) -> Cluster:
            if current.deleted_at != before.deleted_at:
                raise NotFound
            project, network = _groups(service, current)
            return replace(
                deletions.undeleted(current, name, nodes),
                project_id=project,
                private_network_id=network,
                server_names=service.certificate_names(name, nodes),
            )

        try:
            return await service.store.update_cluster(before.id, undeleted, note, deleted=True)
        except PortTaken as error:  # a concurrent request took one of the ports
            await service.ports.release(before.id, host.id)
            refused.update(error.ports)
        except NameTaken:
            await service.ports.release(before.id, host.id)
            raise _name_taken(before, name) from None
        except BaseException:
            await service.ports.release(before.id, host.id)
            raise


async def _from_repository(request: Call, before: Cluster, name: str, wish: str) -> Response:
    """Write the record of the cluster with its data to be restored from its backups."""
    service, refusals, former = request.service, placement.Refusals(), before.nodes[0]
    record_formats.check_readers(service.store.known_hosts(), record_formats.WITH_RESTORES)

    def choose() -> Node:
        candidates = placement.candidates(service, refusals.ports)
        spared, limits = refusals.silent.keys(), placement.limits(service)
        without = spared | {node.host for node in before.left}
        return recoveries.placed(before, former, candidates, host=wish, limits=limits, without=without)

    while True:
        node = await placement.claimed(service, before.id, refusals, choose)
        try:
            await recoveries_api.archived(service, before, node)
            stored = await _undeleted_from_backups(request, before, name, node)
            return await _answered(request, before, stored)
        except PortTaken as error:
            await service.ports.release(before.id, node.host)
            refusals.add(error.host, error.ports)
        except NameTaken:
            await service.ports.release(before.id, node.host)
            raise _name_taken(before, name) from None
        except BaseException:
            await service.ports.release(before.id, node.host)
            raise


async def _undeleted_from_backups(request: Call, before: Cluster, name: str, node: Node) -> Stored[Cluster]:
    service, note, now = request.service, request.note(EventType.CLUSTER_CREATE), datetime.now(UTC)
    [lost] = before.nodes

    def undeleted(current: Cluster) -> Cluster:
        if current.deleted_at != before.deleted_at or _source(service, current) is not Source.REPOSITORY:
            raise Conflict("It was changed meanwhile; try again.")
        former = () if current.is_put_away else current.nodes
        mark = recoveries_api.new_mark(now)
        project, network = _groups(service, current)
        return replace(
            deletions.undeleted_from_backups(current, name, node, former, now, mark),
            project_id=project,
            private_network_id=network,
            server_names=service.certificate_names(name, (node,)),
        )

    is_there = lost.lost_at is None and not before.is_put_away
    conditions = [service.store.is_absent(lost.host)] if is_there else []
    return await service.store.update_cluster(before.id, undeleted, note, *conditions, deleted=True)


async def _nodes(service: Service, cluster: Cluster, host: Host, refused: set[int]) -> tuple[Node, ...]:
    """Return the nodes with ports that are free, and claimed on the host: the former ones if they are."""
    if not cluster.is_put_away and not refused:  # its ports are its own yet
        return cluster.nodes
    [node] = cluster.nodes
    while True:
        [there] = [one for one in placement.candidates(service, {host.id: refused}) if one.host.id == host.id]
        found = scheduling.with_free_ports(node, there)
        busy = await service.ports.claim(cluster.id, host.id, found.ports)
        if not busy:
            return (found,)
        refused |= busy


def _groups(service: Service, cluster: Cluster) -> tuple[UUID, UUID]:
    """Return project and VPC of a cluster, the default ones in place of those that are not there any more."""
    groups = service.store.groups
    project = cluster.project_id if groups.project(cluster.project_id) else DEFAULT_PROJECT.id
    network = cluster.private_network_id
    if groups.network(network) is None:
        network = catalog.default_network(cluster.region)
    return project, network


def _changes(service: Service, before: Cluster, after: Cluster) -> list[str]:
    """Return in words what an undeleted cluster has that is not as it was."""
    told = []
    if before.name != after.name:
        told.append(f"Its name is {after.name}, and was {before.name}.")
    told += recoveries_api.port_changes(before.nodes[0], after.nodes[0])
    if before.project_id != after.project_id:
        told.append("It is in the default project: its former one was deleted.")
    if before.private_network_id != after.private_network_id:
        told.append("It is in the default VPC of its region: its former one was deleted.")
    return told


ROUTES = (list_deleted, undelete_cluster, purge_cluster)
