"""Undelete a cluster: its data are in the trash of its host, or come from its backups."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod
from uuid import UUID

import msgspec
from msgspec.structs import replace

from cenote import rules
from cenote.api import placement, schema_fields
from cenote.api import recoveries as recoveries_api
from cenote.api.auth import CREATE
from cenote.api.call import Call
from cenote.api.deletions import ONE, Source, deleted_cluster, hindrance_at_host, source
from cenote.api.operation import Body, answer, operation
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
    service, before = request.service, deleted_cluster(request).value
    body = await request.decoded(UndeleteCluster)
    name = before.name if body.name is None else body.name
    rules.cluster_name(name, in_domain=service.domain is not None)
    await _check_name(service, before, name)
    wish, _ = placement.wish(body.host, None)
    if source(service, before) is Source.REPOSITORY:
        return await _from_repository(request, before, name, wish)
    if wish:
        raise Invalid("host: its data is in the trash of its host, and stays there. Move the cluster then.")
    await _wait_until_put_away(service, before, _check_host(service, before))
    before = deleted_cluster(request).value
    host = _check_host(service, before)
    stored = await _undeleted(request, before, name, host)
    return await _answered(request, before, stored)


async def _answered(request: Call, before: Cluster, stored: Stored[Cluster]) -> Response:
    service = request.service
    await service.wait_until_in_force(stored, frozenset(PartName), required=False)
    now = service.store.cluster(before.id) or stored
    view = cluster_view(service, now.value, credentials=request.caller.sees_credentials)
    return answer(UndeletedAnswer(view, _changes(service, before, stored.value)))


def _check_host(service: Service, cluster: Cluster) -> Host:
    """Return the host that has the data of a deleted cluster; an error if it cannot bring that back."""
    node = cluster.nodes[0]
    host, why = service.store.host(node.host), hindrance_at_host(service, cluster)
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
    unreadable: dict[str, recoveries_api.NoBackup] = {}  # by the hosts that have none

    def choose() -> tuple[Node, ...]:
        candidates = placement.candidates(service, refusals.ports)
        without = refusals.silent.keys() | unreadable.keys() | {node.host for node in before.left}
        limits = placement.limits(service)
        try:
            first = recoveries.placed(before, former, candidates, host=wish, limits=limits, without=without)
        except (Busy, Unavailable):
            if unreadable:
                raise next(iter(unreadable.values())) from None
            raise
        asked = recoveries_api.Wish(wish, "", 1 if before.keep is None else before.keep.nodes)
        return recoveries_api.with_standbys(service, before, first, asked, refusals)

    while True:
        nodes = await placement.all_claimed(service, before.id, refusals, choose)
        hosts = dict.fromkeys(node.host for node in nodes)
        try:
            there = await recoveries_api.archived(service, before, nodes[0])
            mark = recoveries_api.new_mark(datetime.now(UTC), there)
            stored = await _undeleted_from_backups(request, before, name, nodes, mark, there.version)
            return await _answered(request, before, stored)
        except PortTaken as error:
            await placement.release(service, before.id, hosts)
            refusals.add(error.host, error.ports)
        except recoveries_api.NoBackup as error:
            await placement.release(service, before.id, hosts)
            unreadable[nodes[0].host] = error
        except NameTaken:
            await placement.release(service, before.id, hosts)
            raise _name_taken(before, name) from None
        except BaseException:
            await placement.release(service, before.id, hosts)
            raise


async def _undeleted_from_backups(
    request: Call, before: Cluster, name: str, nodes: tuple[Node, ...], mark: str, version: str
) -> Stored[Cluster]:
    service, note, now = request.service, request.note(EventType.CLUSTER_CREATE), datetime.now(UTC)
    [lost] = before.nodes

    def undeleted(current: Cluster) -> Cluster:
        if current.deleted_at != before.deleted_at or source(service, current) is not Source.REPOSITORY:
            raise Conflict("It was changed meanwhile; try again.")
        former = () if current.is_put_away else current.nodes
        project, network = _groups(service, current)
        return replace(
            deletions.undeleted_from_backups(current, name, nodes, former, now, mark, version),
            project_id=project,
            private_network_id=network,
            server_names=service.certificate_names(name, nodes),
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
    told += recoveries.version_change(before, after.version)
    told += recoveries_api.port_changes(before.nodes[0], after.nodes[0])
    count = 1 if before.keep is None else before.keep.nodes
    if count != len(after.nodes):
        told.append(f"It has 1 node, and had {count}; the others are added when it is resized.")
    if before.project_id != after.project_id:
        told.append("It is in the default project: its former one was deleted.")
    if before.private_network_id != after.private_network_id:
        told.append("It is in the default VPC of its region: its former one was deleted.")
    return told


ROUTES = (undelete_cluster,)
