"""Read replicas of a cluster: add, list, get, delete, promote.

A replica is a cluster of its own in all but its data: its id works wherever that of a cluster does, for its
pools, trusted sources, settings, size and logs.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from http import HTTPMethod
from uuid import UUID, uuid4

import msgspec

from cenote import rules
from cenote.api import paging, schema_fields
from cenote.api.auth import CREATE, DELETE, READ, UPDATE
from cenote.api.call import Call
from cenote.api.config import host_capabilities
from cenote.api.do_settings import DoSettings
from cenote.api.networks import network_of
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.placement import Refusals, as_nodes, candidates, claimed, limits, release, wish
from cenote.api.replica_view import ReplicaView, replica_view
from cenote.api.service import Service
from cenote.errors import Busy, Conflict, Invalid, NotFound, Unavailable
from cenote.http.routing import Response
from cenote.model.event_records import EventType
from cenote.model.records import Cluster, ClusterStatus
from cenote.rules import configuration, replicas, scheduling
from cenote.rules.scheduling import Placement, Wanted
from cenote.store import NameTaken, PortTaken, Stored

PATH = "/v2/databases/{database_cluster_uuid}/replicas"
ONE = PATH + "/{replica_name}"


class ReplicaExtension(Body):
    """An extension of Cenote: the host, by name or id, or the zone that the replica is to be placed in."""

    host: schema_fields.WishedHost | None = None
    zone: schema_fields.Zone | None = None


class CreateReplica(Body):
    """Fields as clients send them; null and an empty string mean that a field is not set.

    Without ``size`` and ``region`` it has those of its source, and without ``storage_size_mib`` at least as
    much as that.
    """

    name: schema_fields.ClusterName
    size: schema_fields.AnySize | None = None
    region: schema_fields.AnyRegion | None = None
    private_network_uuid: schema_fields.OptionalId | None = None
    tags: schema_fields.Tags | None = None
    storage_size_mib: schema_fields.StorageMib | None = None
    do_settings: DoSettings | None = None
    cenote: ReplicaExtension | None = None


class ReplicaAnswer(msgspec.Struct):
    replica: ReplicaView


class ReplicasAnswer(msgspec.Struct):
    replicas: list[ReplicaView]
    links: paging.Links
    meta: paging.Meta


@operation(HTTPMethod.GET, PATH, scope=READ, answer=ReplicasAnswer, paged=True)
async def list_replicas(request: Call) -> Response:
    """List the read replicas of a cluster, oldest first."""
    cluster, sees = request.cluster().value, request.caller.sees_credentials
    page, links, meta = paging.page_of(request, request.service.store.replicas(cluster.id))
    views = [replica_view(request.service, stored.value, credentials=sees) for stored in page]
    return answer(ReplicasAnswer(views, links, meta))


@operation(
    HTTPMethod.POST, PATH, scope=CREATE, status=201, body=CreateReplica, answer=ReplicaAnswer, also=(412,)
)
async def add_replica(request: Call) -> Response:
    """Add a read replica to a cluster: a server that follows it, and takes no writes.

    It has its source's users and databases.  Its trusted sources and settings are copied from its source and
    are its own from then on.  Its status is ``creating`` until the data are copied.
    """
    request.cluster()  # 404 takes precedence over an invalid body
    body = await request.decoded(CreateReplica)
    stored = await request.service.wait_until_online(await _add(request, body))
    view = replica_view(request.service, stored, credentials=request.caller.sees_credentials)
    return answer(ReplicaAnswer(view), 201)


@operation(HTTPMethod.GET, ONE, scope=READ, answer=ReplicaAnswer)
async def get_replica(request: Call) -> Response:
    """Get a read replica."""
    view = replica_view(request.service, _named(request).value, credentials=request.caller.sees_credentials)
    return answer(ReplicaAnswer(view))


@operation(HTTPMethod.DELETE, ONE, scope=DELETE, status=204, also=(422,))
async def delete_replica(request: Call) -> Response:
    """Delete a read replica; its name can be reused at once.  Its source goes on undisturbed."""
    await request.service.store.delete_cluster(
        _named(request).value.id, datetime.now(UTC), request.note(EventType.CLUSTER_DELETE)
    )
    return no_content()


@operation(HTTPMethod.PUT, ONE + "/promote", scope=UPDATE, status=204, also=(412,))
async def promote_replica(request: Call) -> Response:
    """Promote a read replica: it becomes a cluster of its own, which takes writes, with the same id and name.

    It keeps its users and databases with their passwords, and is not changed by its former source any more.
    Refused while its source is being upgraded to another major version, unless that one's host is down.
    One that is still being made is promoted as soon as it has all of its source's data.
    """
    service, replica = request.service, _named(request).value
    store, now = service.store, datetime.now(UTC).replace(microsecond=0)

    def asked(current: Cluster) -> Cluster:
        if current.replica_of is None:  # a call at the same time was faster
            return current
        source = store.living_cluster(current.replica_of)
        if source is not None and not service.is_lost(source):
            replicas.check_not_upgraded(current, source)
        return replicas.asked_to_promote(current, now)

    await store.update_cluster(replica.id, asked, request.note(EventType.CLUSTER_UPDATE))

    def is_done() -> bool | None:
        now = store.living_cluster(replica.id)
        if now is None:
            return True
        return (now.replica_of is None and service.status(now) is ClusterStatus.ONLINE) or None

    settings = service.settings
    await store.wait(is_done, min(settings.wait_seconds, settings.online_wait_seconds))
    return no_content()


def _named(request: Call) -> Stored[Cluster]:
    """Return the replica in the path."""
    found = request.service.store.replicas(request.cluster().value.id)
    name = request.path_params["replica_name"]
    for stored in found:
        if stored.value.name == name:
            return stored
    raise NotFound


async def _add(request: Call, body: CreateReplica) -> Stored[Cluster]:
    """Validate a request, place the replica on a host, and write its record."""
    service, source = request.service, request.cluster().value
    rules.cluster_name(body.name, in_domain=service.domain is not None)
    others = [stored.value for stored in service.store.replicas(source.id)]
    replicas.check_source(source, service.status(source), others, body.name)
    size = rules.size(body.size or source.size)
    region = rules.region(body.region or source.region)
    storage_mib = rules.storage_mib(body.storage_size_mib, size)
    if body.storage_size_mib is None:
        storage_mib = replicas.storage_mib(source, storage_mib)
    replicas.check_size(source, size, storage_mib)
    do_settings = body.do_settings or DoSettings()
    extension = body.cenote or ReplicaExtension()
    host, zone = wish(extension.host, extension.zone)
    wanted = Wanted(
        version=source.version, memory_mib=size.memory_mib, storage_mib=storage_mib, host=host, zone=zone
    )
    draft = replicas.inherited(
        source,
        Cluster(
            id=uuid4(),
            name=body.name,
            version=source.version,
            size=size.slug,
            region=region,
            created_at=datetime.now(UTC).replace(microsecond=0),
            storage_mib=storage_mib,
            project_id=source.project_id,
            private_network_id=_network(service, body, region, source),
            authority=source.authority,
            nodes=(),
            users=(),
            databases=(),
            tags=rules.tags(body.tags),
            service_names=rules.service_names(do_settings.service_cnames),
        ),
    )
    await _check_name(service, body.name)
    return await _written(request, draft, wanted)


async def _written(request: Call, draft: Cluster, wanted: Wanted) -> Stored[Cluster]:
    """Claim ports for a replica, and write its record while its source is as it was judged."""
    service, refusals = request.service, Refusals()
    note = request.note(EventType.CLUSTER_CREATE)
    while True:
        source = request.cluster()
        choose = functools.partial(_choose, service, source.value, wanted, refusals)
        chosen = await claimed(service, draft.id, refusals, choose)
        nodes = as_nodes([chosen])
        replica = msgspec.structs.replace(
            draft, nodes=nodes, server_names=service.certificate_names(draft.name, nodes)
        )
        try:
            configuration.check_fits(replica, host_capabilities(service, replica))
            others = [stored.value for stored in service.store.replicas(source.value.id)]
            replicas.check_source(source.value, service.status(source.value), others, draft.name)
            await service.store.add_cluster(replica, note, source=source)
        except PortTaken as error:  # a concurrent request took one of the ports
            await release(service, draft.id, [chosen.host.id])
            refusals.add(error.host, error.ports)
        except NameTaken:
            await release(service, draft.id, [chosen.host.id])
            raise _name_taken() from None
        except Conflict:
            await release(service, draft.id, [chosen.host.id])
            await service.store.confirm_cluster(source.value.id)
            if request.cluster().revision == source.revision:
                raise  # it was not for a change of the source
        except BaseException:
            await release(service, draft.id, [chosen.host.id])
            raise
        else:
            return service.cluster(str(draft.id))


def _choose(service: Service, source: Cluster, wanted: Wanted, refusals: Refusals) -> Placement:
    """Return the place of a replica: another host than those of its source, if there is one."""
    every, silent = candidates(service, refusals.ports), refusals.silent.keys()
    own = {node.host for node in source.nodes}
    try:
        return scheduling.choose(wanted, every, limits(service), own | silent)
    except (Busy, Invalid, Unavailable):
        return scheduling.choose(wanted, every, limits(service), silent)


def _network(service: Service, body: CreateReplica, region: str, source: Cluster) -> UUID:
    """Return the id of a replica's VPC: the requested one, its source's in its region, or the default."""
    if not body.private_network_uuid and region == source.region:
        return source.private_network_id
    return network_of(service, body.private_network_uuid, region)


async def _check_name(service: Service, name: str) -> None:
    """Raise Invalid if a cluster or another replica has a name: a replica may become a cluster."""
    store = service.store
    if store.cluster_by_name(name) is not None:
        await store.confirm_name(name)
        if store.cluster_by_name(name) is not None:
            raise _name_taken()


def _name_taken() -> Invalid:
    return Invalid("replica name is not available")


ROUTES = (list_replicas, add_replica, get_replica, delete_replica, promote_replica)
