"""Clusters: create, list, get, delete.

Creation responds at once, with status ``creating`` and the final connection details and password.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPMethod
from typing import Any
from uuid import UUID, uuid4

import msgspec

from cenote import rules
from cenote.api import forks, paging, schema_fields
from cenote.api.auth import CREATE, DELETE, READ
from cenote.api.call import Call
from cenote.api.do_settings import DoSettings
from cenote.api.firewall import RuleBody
from cenote.api.forks import BackupRestore
from cenote.api.networks import network_of
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.placement import Refusals, all_claimed, as_nodes, place, release, wish
from cenote.api.projects import project_of
from cenote.api.service import Service
from cenote.api.storage import ReplaceAutoscale, StorageBody
from cenote.api.views import ClusterView, cluster_view
from cenote.errors import Invalid, NotFound
from cenote.http.routing import Response
from cenote.model import catalog
from cenote.model import firewall as trusted_sources
from cenote.model.event_records import EventType, Note
from cenote.model.fleet_records import Host
from cenote.model.record import Secret
from cenote.model.records import (
    ADMIN_USER,
    DEFAULT_DATABASE,
    BackupPlan,
    CertificateAuthority,
    Cluster,
    Database,
    Node,
    StorageAutoscale,
    UserRole,
)
from cenote.rules import record_formats
from cenote.rules.scheduling import Wanted
from cenote.security import certificates, credentials
from cenote.security.backup_passphrases import new_plan
from cenote.store import NameTaken, PortTaken, Stored

PATH = "/v2/databases"
ONE = "/v2/databases/{database_cluster_uuid}"


class ClusterExtension(Body):
    """An extension of Cenote: the host, by name or id, or the zone that the cluster is to be placed in.

    Of several nodes, the first is on that host, and all are in that zone.  With ``distinct_hosts`` no two of
    them are ever on one host, and with too few hosts the cluster is refused; without, the service says so.

    With ``delete_protection`` it cannot be deleted until that is turned off.  ``undelete_days`` is for how
    many days it can be undeleted once it is deleted, 0: not at all; without, the service says so.
    """

    host: schema_fields.WishedHost | None = None
    zone: schema_fields.Zone | None = None
    distinct_hosts: bool | None = None
    delete_protection: bool | None = None
    undelete_days: schema_fields.UndeleteDays | None = None


class CreateCluster(Body):
    """Fields as clients send them; null and an empty string often mean that a field is not set."""

    name: schema_fields.ClusterName
    engine: schema_fields.Engine
    size: schema_fields.SizeSlug
    region: schema_fields.RegionSlug
    num_nodes: schema_fields.NodeCount
    version: str | None = None
    private_network_uuid: schema_fields.OptionalId | None = None
    project_id: schema_fields.OptionalId | None = None
    tags: schema_fields.Tags | None = None
    storage_size_mib: schema_fields.StorageMib | None = None
    rules: list[RuleBody] | None = None
    backup_restore: BackupRestore | None = None
    autoscale: ReplaceAutoscale | None = None
    storage_autoscale: StorageBody | None = None
    do_settings: DoSettings | None = None
    cenote: ClusterExtension | None = None

    def requested_autoscale(self, default: StorageAutoscale) -> StorageAutoscale:
        """Return the storage autoscaling, which clients send in one of two fields."""
        nested = self.autoscale.storage if self.autoscale is not None else None
        sent = nested or self.storage_autoscale
        return default if sent is None else sent.to_record()


class ClusterAnswer(msgspec.Struct):
    database: ClusterView


class ClustersAnswer(msgspec.Struct):
    databases: list[ClusterView]
    links: paging.Links
    meta: paging.Meta


_SORT_KEYS: dict[str, Callable[[Cluster], Any]] = {
    "name": lambda cluster: cluster.name,
    "version": lambda cluster: (int(cluster.version), cluster.name),
    "size": lambda cluster: (_memory_and_processors(cluster), cluster.name),
    "created_at": lambda cluster: (cluster.created_at, cluster.id),
}


def _memory_and_processors(cluster: Cluster) -> tuple[int, int]:
    size = catalog.SIZES[cluster.size]
    return size.memory_mib, size.vcpus


@operation(
    HTTPMethod.GET,
    PATH,
    scope=READ,
    answer=ClustersAnswer,
    paged=True,
    query=("tag_name", "name", "sort"),
    also=(422,),
)
async def list_clusters(request: Call) -> Response:
    """List all database clusters but read replicas, oldest first; ``name`` selects those whose name contains
    it.

    ``sort`` is ``name``, ``version``, ``size`` or ``created_at``, with a minus sign before it for the
    reverse order.
    """
    tag = request.query_params.get("tag_name") or None
    part = request.query_params.get("name", "").lower()
    found = request.service.store.clusters(deleted=False, tag=tag, replicas=False)
    if part:
        found = [stored for stored in found if part in stored.value.name]
    found.sort(key=lambda stored: (stored.value.created_at, stored.value.id))
    sort = request.query_params.get("sort", "")
    if sort:
        key = _SORT_KEYS.get(sort.removeprefix("-"))
        if key is None:
            raise Invalid(f"sort: {sort[:40]!a} is not one of {', '.join(_SORT_KEYS)}.")
        found.sort(key=lambda stored: key(stored.value), reverse=sort.startswith("-"))
    page, links, meta = paging.page_of(request, found)
    sees = request.caller.sees_credentials
    views = [cluster_view(request.service, stored.value, credentials=sees) for stored in page]
    return answer(ClustersAnswer(views, links, meta))


@operation(
    HTTPMethod.POST, PATH, scope=CREATE, status=201, body=CreateCluster, answer=ClusterAnswer, also=(412,)
)
async def create_cluster(request: Call) -> Response:
    """Create a database cluster.

    The response waits for a moment, and often shows the cluster online.

    With ``backup_restore`` it is a fork: it gets the data of another cluster, as they are now or were at a
    moment, with the users, databases, pools, settings and trusted sources of then, and with new passwords.
    Its status is ``forking`` until it can be used.
    """
    body = await request.decoded(CreateCluster)
    created = await create(request.service, body, request.note(EventType.CLUSTER_CREATE))
    cluster = await request.service.wait_until_online(created)
    view = cluster_view(request.service, cluster, credentials=request.caller.sees_credentials)
    return answer(ClusterAnswer(view), 201)


@operation(HTTPMethod.GET, ONE, scope=READ, answer=ClusterAnswer)
async def get_cluster(request: Call) -> Response:
    """Get a database cluster."""
    view = cluster_view(request.service, request.cluster().value, credentials=request.caller.sees_credentials)
    return answer(ClusterAnswer(view))


@operation(HTTPMethod.DELETE, ONE, scope=DELETE, status=204, also=(412, 422))
async def delete_cluster(request: Call) -> Response:
    """Delete a database cluster; its name can be reused at once.

    Its data is kept for some days, in which it can be undeleted (``/v2/cenote/deleted``), unless the service
    keeps none.

    One that is protected from deletion (``cenote.delete_protection``) is refused, and so is one with read
    replicas, which would be left without a source.  Those that are being promoted are waited for.
    """
    await _wait_for_promotions(request.service, request.cluster().value.id)
    await request.service.store.delete_cluster(
        request.cluster().value.id,
        datetime.now(UTC),
        request.note(EventType.CLUSTER_DELETE),
        request.service.settings.undelete_days,
    )
    return no_content()


async def _wait_for_promotions(service: Service, id: UUID) -> None:
    """Wait until the cluster has no replica that is about to be a cluster of its own, or for long."""

    def are_over() -> bool | None:
        followers = service.store.replicas(id)
        return not any(one.value.promote_asked_at is not None for one in followers) or None

    await service.store.wait(are_over, service.settings.access_wait_seconds)


async def create(
    service: Service, body: CreateCluster, note: Note, *, rehearsal_of: UUID | None = None
) -> Stored[Cluster]:
    """Validate a request, place the cluster on a host, and write its record with new secrets.

    ``rehearsal_of``: the id of the cluster whose upgrade is rehearsed on this fork, which is not backed up.
    """
    store = service.store
    rules.engine(body.engine)
    rules.cluster_name(body.name, in_domain=service.domain is not None)
    rules.num_nodes(body.num_nodes)
    size = rules.size(body.size)
    region = rules.region(body.region)
    storage_mib = rules.storage_mib(body.storage_size_mib, size)
    tags = rules.tags(body.tags)
    now = datetime.now(UTC).replace(microsecond=0)
    firewall = trusted_sources.replace_rules((), [rule.requested() for rule in body.rules or ()], now)
    try:
        project_id, network_id = _groups(service, body, region)
    except Invalid:
        if not await store.groups.confirm():
            raise
        project_id, network_id = _groups(service, body, region)
    do_settings = body.do_settings or DoSettings()
    service_names = rules.service_names(do_settings.service_cnames)
    if store.cluster_by_name(body.name) is not None:
        await store.confirm_name(body.name)
        if store.cluster_by_name(body.name) is not None:
            raise _name_taken()
    if body.backup_restore is None:
        version = rules.version(body.version, catalog.versions(await service.living_hosts()))
        origin = None
    else:
        origin = await forks.origin_of(service, body.backup_restore, body.version)
        version, storage_mib = origin.version, origin.storage_mib(body.storage_size_mib, storage_mib)
        firewall = firewall or origin.firewall
    autoscale = body.requested_autoscale(StorageAutoscale() if origin is None else origin.record.autoscale)

    extension = body.cenote or ClusterExtension()
    host, zone = wish(extension.host, extension.zone)
    if extension.undelete_days is not None:
        rules.undelete_days(extension.undelete_days)
    wanted = Wanted(
        version=version,
        memory_mib=size.memory_mib,
        storage_mib=storage_mib,
        host=host,
        zone=zone,
    )

    id = uuid4()
    certificate, key = certificates.new_authority(f"Cenote CA of cluster {id}")
    authority = CertificateAuthority(certificate=certificate, sealed_key=service.sealer.seal(Secret(key)))
    admin = credentials.new_user(ADMIN_USER, service.sealer, UserRole.PRIMARY)
    refusals, count = Refusals(), body.num_nodes
    distinct = (
        service.settings.distinct_hosts if extension.distinct_hosts is None else extension.distinct_hosts
    )

    def choose() -> tuple[Node, ...]:
        if origin is not None:
            return forks.nodes(service, wanted, origin, refusals, count, distinct=distinct)
        return as_nodes(place(service, wanted, count, refusals, distinct=distinct))

    while True:
        nodes = await all_claimed(service, id, refusals, choose)
        hosts = dict.fromkeys(node.host for node in nodes)
        plan = _backup_plan(service, store.hosts_by_id().get(nodes[0].host))
        cluster = Cluster(
            id=id,
            name=body.name,
            version=version,
            size=size.slug,
            region=region,
            created_at=now,
            storage_mib=storage_mib,
            autoscale=autoscale,
            project_id=project_id,
            private_network_id=network_id,
            authority=authority,
            nodes=nodes,
            users=(admin,),
            databases=(Database(name=DEFAULT_DATABASE),),
            tags=tags,
            firewall=firewall,
            server_names=service.certificate_names(body.name, nodes),
            backups=plan if rehearsal_of is None else None,
            rehearsal_of=rehearsal_of,
            service_names=service_names,
            delete_protection=bool(extension.delete_protection),
            undelete_days=extension.undelete_days,
            last_node=count if count > 1 else 0,
            distinct_hosts=bool(extension.distinct_hosts) or (distinct and count > 1),
        )
        try:
            if origin is not None:
                cluster = forks.forked(service, cluster, origin, now)
            return Stored(cluster, await store.add_cluster(cluster, note))
        except PortTaken as error:  # a concurrent request took one of the ports
            await release(service, id, hosts)
            refusals.add(error.host, error.ports)
        except NameTaken:
            await release(service, id, hosts)
            raise _name_taken() from None
        except BaseException:
            await release(service, id, hosts)
            raise


def _backup_plan(service: Service, host: Host | None) -> BackupPlan | None:
    """Return a plan for backups of a cluster on a host that keeps some; else the controller may make one."""
    if host is None or not host.repository or not record_formats.are_read(service.store.known_hosts()):
        return None
    return new_plan(service.rings.host)


def _groups(service: Service, body: CreateCluster, region: str) -> tuple[UUID, UUID]:
    """Return the ids of the project and of the VPC."""
    try:
        project = project_of(service, body.project_id)
    except NotFound:
        raise Invalid(f"project_id: there is no project {body.project_id}.") from None
    return project.id, network_of(service, body.private_network_uuid, region)


def _name_taken() -> Invalid:
    return Invalid("cluster name is not available")


ROUTES = (list_clusters, create_cluster, get_cluster, delete_cluster)
