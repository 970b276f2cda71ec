"""VPCs.  They are labels only: they do not isolate clusters.  Each region has a default VPC."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod
from uuid import UUID, uuid4

import msgspec
from msgspec.structs import replace

from cenote import rules
from cenote.api import paging
from cenote.api.auth import CREATE, DELETE, READ, UPDATE
from cenote.api.call import Call
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.service import Service
from cenote.errors import Conflict, Invalid, NotFound
from cenote.http.routing import Response
from cenote.model import catalog, groups
from cenote.model.groups import CLUSTER_URN, DEFAULT_NETWORKS, VPC
from cenote.model.records import Cluster

PATH = "/v2/vpcs"
ONE = PATH + "/{vpc_id}"
_CLUSTER_TYPES = ("database", "dbaas")


class CreateNetwork(Body):
    """Without ``ip_range`` an unused range is chosen."""

    name: str
    region: str
    description: str | None = None
    ip_range: str | None = None


class UpdateNetwork(Body):
    """Fields that are omitted or null are unchanged; which VPC is a region's default cannot be changed."""

    name: str | None = None
    description: str | None = None
    default: bool | None = None


class NetworkView(msgspec.Struct, kw_only=True):
    """A VPC."""

    id: UUID
    urn: str
    name: str
    description: str
    region: str
    ip_range: str
    created_at: datetime
    default: bool


class NetworkAnswer(msgspec.Struct):
    vpc: NetworkView


class NetworksAnswer(msgspec.Struct):
    vpcs: list[NetworkView]
    links: paging.Links
    meta: paging.Meta


class MemberView(msgspec.Struct):
    """A cluster in a VPC."""

    urn: str
    name: str
    created_at: datetime


class MembersAnswer(msgspec.Struct):
    members: list[MemberView]
    links: paging.Links
    meta: paging.Meta


@operation(HTTPMethod.GET, PATH, scope=READ, answer=NetworksAnswer, paged=True)
async def list_vpcs(request: Call) -> Response:
    """List all VPCs, the default VPCs first."""
    found = _all(request.service)
    page, links, meta = paging.page_of(request, found)
    return answer(NetworksAnswer([_view(network) for network in page], links, meta))


@operation(HTTPMethod.POST, PATH, scope=CREATE, status=201, body=CreateNetwork, answer=NetworkAnswer)
async def create_vpc(request: Call) -> Response:
    """Create a VPC, which is only a label."""
    body = await request.decoded(CreateNetwork)
    id, now = uuid4(), datetime.now(UTC).replace(microsecond=0)

    def made() -> VPC:
        groups.room(request.service.store.groups.networks())
        others = _all(request.service)
        return VPC(
            id=id,
            name=groups.network_name(body.name, others),
            region=rules.region(body.region),
            description=groups.text("description", body.description),
            ip_range=groups.ip_range(body.ip_range, others),
            created_at=now,
        )

    await request.service.store.groups.put(made, request.note())
    return answer(NetworkAnswer(_view(_network(request.service, id))), 201)


@operation(HTTPMethod.GET, ONE, scope=READ, answer=NetworkAnswer)
async def get_vpc(request: Call) -> Response:
    """Get a VPC."""
    return answer(NetworkAnswer(_view(_named(request))))


@operation(HTTPMethod.PUT, ONE, scope=UPDATE, body=UpdateNetwork, answer=NetworkAnswer)
async def update_vpc(request: Call) -> Response:
    """Change the name or description of a VPC."""
    return await _update(request)


@operation(HTTPMethod.PATCH, ONE, scope=UPDATE, body=UpdateNetwork, answer=NetworkAnswer)
async def patch_vpc(request: Call) -> Response:
    """Change the name or description of a VPC."""
    return await _update(request)


async def _update(request: Call) -> Response:
    id = _named(request).id
    body = await request.decoded(UpdateNetwork)

    def changed() -> VPC:
        before = _network(request.service, id)
        if body.default is not None and body.default is not (id in DEFAULT_NETWORKS):
            raise Invalid("default: which VPC is the default one of its region can't be changed.")
        others = [one for one in _all(request.service) if one.id != id]
        return replace(
            before,
            name=before.name if body.name is None else groups.network_name(body.name, others),
            description=before.description
            if body.description is None
            else groups.text("description", body.description),
        )

    await request.service.store.groups.put(changed, request.note())
    return answer(NetworkAnswer(_view(_network(request.service, id))))


@operation(
    HTTPMethod.GET, ONE + "/members", scope=READ, answer=MembersAnswer, paged=True, query=("resource_type",)
)
async def list_vpc_members(request: Call) -> Response:
    """List the clusters in a VPC, oldest first; of any other `resource_type` than `dbaas` there are none."""
    found = _members(request.service, _named(request).id)
    if request.query_params.get("resource_type", "") not in ("", *_CLUSTER_TYPES):
        found = []
    page, links, meta = paging.page_of(request, found)
    members = [MemberView(f"{CLUSTER_URN}{one.id}", one.name, one.created_at) for one in page]
    return answer(MembersAnswer(members, links, meta))


@operation(HTTPMethod.DELETE, ONE, scope=DELETE, status=204, also=(422,))
async def delete_vpc(request: Call) -> Response:
    """Delete a VPC that has no clusters."""
    id = _named(request).id

    def empty() -> VPC:
        network = _network(request.service, id)
        if id in DEFAULT_NETWORKS:
            raise Invalid("a region's default VPC can't be deleted.")
        if _members(request.service, id):
            raise Conflict("Can not delete VPC with members")
        return network

    await request.service.store.groups.remove(empty, request.note())
    return no_content()


def network_of(service: Service, text: str | None, region: str) -> UUID:
    """Return the id of the VPC of a new cluster: the requested one, or the region's default."""
    id = rules.optional_uuid("private_network_uuid", text)
    if id is None:
        return catalog.default_network(region)
    network = service.store.groups.network(id)
    if network is None:
        raise Invalid(f"private_network_uuid: there is no VPC {id}.")
    if network.region != region:
        raise Invalid(f"private_network_uuid: this VPC is in {network.region}, not in {region}.")
    return id


def _all(service: Service) -> list[VPC]:
    return [*service.store.groups.default_networks(), *service.store.groups.networks()]


def _members(service: Service, id: UUID) -> list[Cluster]:
    clusters = [one.value for one in service.store.clusters(deleted=False)]
    found = [one for one in clusters if one.private_network_id == id]
    return sorted(found, key=lambda cluster: (cluster.created_at, cluster.id))


def _network(service: Service, id: UUID) -> VPC:
    network = service.store.groups.network(id)
    if network is None:
        raise NotFound
    return network


def _named(request: Call) -> VPC:
    try:
        return _network(request.service, UUID(request.path_params["vpc_id"]))
    except ValueError:
        raise NotFound from None


def _view(network: VPC) -> NetworkView:
    return NetworkView(
        id=network.id,
        urn=f"do:vpc:{network.id}",
        name=network.name,
        description=network.description,
        region=network.region,
        ip_range=network.ip_range,
        created_at=network.created_at,
        default=network.id in DEFAULT_NETWORKS,
    )


ROUTES = (list_vpcs, create_vpc, get_vpc, update_vpc, patch_vpc, list_vpc_members, delete_vpc)
