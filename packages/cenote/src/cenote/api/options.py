"""The options for new clusters: regions, the versions installed on the hosts, and sizes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from http import HTTPMethod

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api import placement
from cenote.api.auth import CREATE, READ, UPDATE
from cenote.api.call import Call
from cenote.api.operation import answer, operation
from cenote.api.service import Service
from cenote.http.routing import Response
from cenote.model import catalog
from cenote.model.fleet_records import Host, HostRole
from cenote.rules import scheduling
from cenote.rules.clusters import MOST_NODES
from cenote.rules.host_states import HostState
from cenote.rules.scheduling import Candidate, Wanted


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
    ``clients`` the clients that PgBouncer takes.  ``fits_on`` are the names of the hosts that have this much
    left for a cluster of the default version; only for tokens that may create or resize clusters.
    """

    slug: str
    vcpus: int
    memory_mib: int
    storage_mib: int
    connections: int
    pool_connections: int
    clients: int
    fits_on: list[str] | UnsetType = UNSET


class PlaceView(msgspec.Struct, kw_only=True):
    """A host that runs clusters, with its zone and what its clusters may use of it.

    ``reason`` says why it takes no new clusters, and is empty if it does; ``text`` says how much is left.
    """

    name: str
    zone: str
    reason: str
    text: str
    clusters: int
    cpus: int
    memory_mib: int
    allocated_memory_mib: int
    disk_mib: int
    allocated_storage_mib: int


class RoomView(msgspec.Struct, kw_only=True):
    """The host that a new cluster would be placed on, one of ``hosts``, and what its clusters may use.

    Without an overcommit factor, nothing is refused when they may use more than there is.  ``disk_mib`` is 0
    while it is not known.
    """

    hosts: int
    clusters: int
    cpus: int
    memory_mib: int
    allocated_memory_mib: int
    disk_mib: int
    allocated_storage_mib: int


class OfferedView(msgspec.Struct):
    """An extension of Cenote: the available PostgreSQL extensions by version, sizes, and room on hosts.

    ``undelete_days`` is for how long a deleted cluster can be undeleted, 0 if it cannot.
    ``room`` and ``places`` are only for tokens that may create or resize clusters: they say what others have
    allocated.
    """

    extensions: dict[str, list[str]]
    sizes: list[SizeView]
    room: RoomView | UnsetType = UNSET
    places: list[PlaceView] | UnsetType = UNSET
    undelete_days: int = 0


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
        layouts=[LayoutView(number, list(catalog.SIZES)) for number in _node_counts(hosts)],
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
        undelete_days=request.service.settings.undelete_days,
    )
    if versions and (request.caller.may(CREATE) or request.caller.may(UPDATE)):
        _add_places(request.service, offered, versions[-1])
    return answer(OptionsAnswer(EnginesView(engine), AvailabilitiesView(availability), offered))


def _node_counts(hosts: Iterable[Host]) -> Iterable[int]:
    """Return how many nodes a cluster can have: several only where a host has Patroni."""
    return range(1, MOST_NODES + 1) if any(host.patroni for host in hosts) else (1,)


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


def _add_places(service: Service, offered: OfferedView, version: str) -> None:
    """Say what fits where, for a cluster of a version."""
    limits = placement.limits(service)
    found = [one for one in placement.candidates(service) if HostRole.DATABASE in one.host.roles]
    for view, size in zip(offered.sizes, catalog.SIZES.values(), strict=True):
        wanted = _wanted(version, size)
        view.fits_on = [one.host.name for one in found if scheduling.fits(wanted, one, limits)]
    smallest = _wanted(version, min(catalog.SIZES.values(), key=lambda size: size.memory_mib))
    offered.places = [_place_view(one, scheduling.hindrance(smallest, one, limits)) for one in found]
    able = [one for one in found if one.state is HostState.UP and not one.drained and one.host.versions]
    best = scheduling.emptiest(able)
    if best is not None:
        offered.room = _room_view(best, len(able))


def _wanted(version: str, size: catalog.Size) -> Wanted:
    return Wanted(version=version, memory_mib=size.memory_mib, storage_mib=size.disk_mib)


def _place_view(place: Candidate, reason: str) -> PlaceView:
    host, promised = place.host, place.promised
    return PlaceView(
        name=host.name,
        zone=host.zone,
        reason=reason,
        text=scheduling.left_in_words(place),
        clusters=promised.nodes,
        cpus=host.cpus,
        memory_mib=host.memory_mib,
        allocated_memory_mib=promised.memory_mib,
        disk_mib=host.disk_mib,
        allocated_storage_mib=promised.storage_mib,
    )


def _room_view(place: Candidate, hosts: int) -> RoomView:
    host, promised = place.host, place.promised
    return RoomView(
        hosts=hosts,
        clusters=promised.nodes,
        cpus=host.cpus,
        memory_mib=host.memory_mib,
        allocated_memory_mib=promised.memory_mib,
        disk_mib=host.disk_mib,
        allocated_storage_mib=promised.storage_mib,
    )


ROUTES = (list_options,)
