"""The options for new clusters: regions, the versions installed on the hosts, and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from http import HTTPMethod

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api.auth import CREATE, READ, UPDATE
from cenote.api.hosts import clusters_on
from cenote.api.service import Call, answer, operation
from cenote.http.routing import Response
from cenote.model import catalog
from cenote.model.records import Cluster, Host


class LayoutView(msgspec.Struct):
    num_nodes: int
    sizes: list[str]


class EngineView(msgspec.Struct, kw_only=True):
    """The options for one engine."""

    regions: list[str]
    versions: list[str]
    layouts: list[LayoutView]
    default_version: str | UnsetType = UNSET


class EnginesView(msgspec.Struct):
    pg: EngineView


class AvailabilityView(msgspec.Struct, kw_only=True):
    """Until when a version is supported by its community, and until when it is offered."""

    version: str
    end_of_life: datetime | None
    end_of_availability: datetime | None
    default: bool


class AvailabilitiesView(msgspec.Struct):
    pg: list[AvailabilityView]


class SizeView(msgspec.Struct, kw_only=True):
    """What a cluster of a size has by default.

    ``connections`` are those of the server, ``pool_connections`` those of them that its pools can have,
    ``clients`` the clients that PgBouncer takes.
    """

    slug: str
    vcpus: int
    memory_mib: int
    storage_mib: int
    connections: int
    pool_connections: int
    clients: int


class RoomView(msgspec.Struct, kw_only=True):
    """The host that a new cluster would be placed on, one of ``hosts``, and what its clusters may use.

    Nothing is refused when they may use more than there is.  ``disk_mib`` is 0 while it is not known.
    """

    hosts: int
    clusters: int
    cpus: int
    memory_mib: int
    allocated_memory_mib: int
    disk_mib: int
    allocated_storage_mib: int


class OfferedView(msgspec.Struct):
    """An extension of Cenote: the available PostgreSQL extensions by version, sizes, and room on hosts."""

    extensions: dict[str, list[str]]
    sizes: list[SizeView]
    room: RoomView | UnsetType = UNSET


class OptionsAnswer(msgspec.Struct):
    options: EnginesView
    version_availability: AvailabilitiesView
    cenote: OfferedView


@operation(HTTPMethod.GET, "/v2/databases/options", scope=READ, answer=OptionsAnswer, also=(503,))
async def list_options(request: Call) -> Response:
    """List the options for new clusters: regions, versions and sizes."""
    hosts = await request.service.living_hosts()
    versions = list(catalog.versions(hosts))
    engine = EngineView(
        regions=list(catalog.REGIONS),
        versions=versions,
        layouts=[LayoutView(1, list(catalog.SIZES))],
        default_version=versions[-1] if versions else UNSET,
    )
    availability = [
        AvailabilityView(
            version=version,
            end_of_life=catalog.end_of_life(version),
            end_of_availability=catalog.end_of_availability(version),
            default=version == versions[-1],
        )
        for version in versions
    ]
    offered = OfferedView(
        {version: catalog.extensions(hosts, version) for version in versions},
        [_size_view(size) for size in catalog.SIZES.values()],
        _room(request, hosts),
    )
    return answer(OptionsAnswer(EnginesView(engine), AvailabilitiesView(availability), offered))


def _size_view(size: catalog.Size) -> SizeView:
    return SizeView(
        slug=size.slug,
        vcpus=size.vcpus,
        memory_mib=size.memory_mib,
        storage_mib=size.disk_mib,
        connections=catalog.backend_connections(size),
        pool_connections=catalog.pool_capacity(size),
        clients=catalog.max_clients(size),
    )


def _room(request: Call, hosts: Sequence[Host]) -> RoomView | UnsetType:
    """Return the host with the most unallocated memory, which the scheduler prefers.

    Only for tokens that may create or resize clusters: it says what others have allocated.
    """
    if not request.caller.may(CREATE) and not request.caller.may(UPDATE):
        return UNSET
    views = [
        _room_of(host, clusters_on(request.service, host), len(hosts)) for host in hosts if host.versions
    ]
    return max(views, key=lambda one: one.memory_mib - one.allocated_memory_mib, default=UNSET)


def _room_of(host: Host, clusters: Sequence[Cluster], hosts: int) -> RoomView:
    return RoomView(
        hosts=hosts,
        clusters=len(clusters),
        cpus=host.cpus,
        memory_mib=host.memory_mib,
        allocated_memory_mib=sum(catalog.SIZES[cluster.size].memory_mib for cluster in clusters),
        disk_mib=host.disk_mib,
        allocated_storage_mib=sum(cluster.storage_mib for cluster in clusters),
    )


ROUTES = (list_options,)
