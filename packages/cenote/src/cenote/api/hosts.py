"""The hosts of the service, an extension of Cenote for the scope ``cenote:admin``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPMethod

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api.auth import ADMIN
from cenote.api.call import Call
from cenote.api.drain_hindrances import hindrances
from cenote.api.operation import answer, no_content, operation
from cenote.api.service import Service
from cenote.errors import Busy, Invalid, NotFound
from cenote.http.routing import Response
from cenote.model.fleet_records import AdmittedHost, Host, HostRole
from cenote.model.records import Cluster
from cenote.rules import host_states, scheduling
from cenote.rules.host_states import HostState
from cenote.rules.scheduling import NOTHING, Promise

PATH = "/v2/cenote/hosts"
ONE = PATH + "/{host_id}"
NOT_STARTED = "has not started yet"


class PortsView(msgspec.Struct):
    """The port range for clusters, how many ports clusters hold, and how many other programs use."""

    first: int
    last: int
    claimed: int
    busy: int


class DrainView(msgspec.Struct):
    """A host takes no new clusters and gives away its own: ``moved`` of ``nodes`` have left it."""

    asked_at: datetime
    nodes: int
    moved: int


class HostBackupsView(msgspec.Struct):
    """Where a host keeps backups, and for how many days; ``repository`` is empty if it keeps none.

    ``default``: nobody has said where.  ``warning`` says why what is there is no backup of the host, and
    ``problem`` why no backups can be made; each is empty if there is nothing to say.
    """

    repository: str
    days: int
    default: bool
    warning: str
    problem: str


class HostView(msgspec.Struct, kw_only=True):
    """A host.

    ``state`` is ``up``, ``away`` or, after 20 seconds of that, ``down``; ``since`` is when it stopped to
    answer, left out while it is up or when that is not known.  One that has joined and was never started is
    ``down``, and nothing is known of it but where it is.  ``reason`` says in words what there is to say.
    Memory may be overcommitted: the sizes of clusters may add up to more than it has.  ``unknown`` are nodes
    that run there and that no record has there, each as ``<cluster id>/<node>``.  ``fleet_address`` and
    ``fleet_port`` are where other hosts reach it; empty for one that stands alone.
    """

    id: str
    name: str
    address: str
    zone: str
    roles: list[HostRole]
    state: HostState
    since: datetime | UnsetType = UNSET
    reason: str
    drain: DrainView | UnsetType = UNSET
    cpus: int
    memory_mib: int
    promised_memory_mib: int
    disk_mib: int
    promised_storage_mib: int
    clusters: int
    versions: dict[str, str]
    cenote_version: str
    ports: PortsView
    unknown: tuple[str, ...]
    deleted_clusters: int
    deleted_mib: int
    backups: HostBackupsView
    fleet_address: str
    fleet_port: int


class HostsAnswer(msgspec.Struct):
    hosts: list[HostView]


class HostAnswer(msgspec.Struct):
    host: HostView


@operation(HTTPMethod.GET, PATH, scope=ADMIN, answer=HostsAnswer)
async def list_hosts(request: Call) -> Response:
    """List the hosts with their state, their resources, and what of these is allocated to clusters."""
    return answer(HostsAnswer(host_views(request.service)))


@operation(HTTPMethod.POST, ONE + "/drain", scope=ADMIN, answer=HostAnswer, also=(412,))
async def drain_host(request: Call) -> Response:
    """Drain a host: it takes no new clusters, and those that it has are moved to other hosts."""
    service, host = request.service, _host(request)
    await service.store.host_changes.drain(host.id, datetime.now(UTC).replace(microsecond=0), request.note())
    return answer(HostAnswer(_view_of(service, host.id)))


@operation(HTTPMethod.DELETE, ONE + "/drain", scope=ADMIN, answer=HostAnswer, also=(412,))
async def undrain_host(request: Call) -> Response:
    """End the draining of a host: it takes clusters again; those that have moved stay where they are."""
    service, host = request.service, _host(request)
    await service.store.host_changes.undrain(host.id, request.note())
    return answer(HostAnswer(_view_of(service, host.id)))


@operation(HTTPMethod.DELETE, ONE, scope=ADMIN, status=204, query=("lost",), also=(409, 412))
async def remove_host(request: Call) -> Response:
    """Remove a host on which nothing is left.

    With ``lost=true``, one that is gone for good with what was on it: its clusters are down, and can be
    deleted.  A host that was removed cannot come back.  One that has joined and was never started is removed
    with either.
    """
    lost = request.query_params.get("lost", "false")
    if lost not in ("true", "false"):
        raise Invalid("lost: must be true or false.")
    service, at = request.service, datetime.now(UTC).replace(microsecond=0)
    id = request.path_params["host_id"]
    if id in service.store.unstarted_hosts() and id != service.settings.host_id:
        await service.store.host_changes.remove_unstarted(id, at, request.note())
        return no_content()
    host = _host(request)
    if host.id == service.settings.host_id:
        raise Busy(f"{host.name} answers this request itself; ask the API of another host to remove it.")
    if lost == "false":
        await service.store.host_changes.remove(host.id, at, request.note())
        return no_content()
    match service.store.host_state(host.id):
        case HostState.UP:
            raise Busy(f"{host.name} is up, so it is not lost; drain it first, and remove it then.")
        case HostState.AWAY:
            raise Busy(
                f"{host.name} does not answer, but for less than {host_states.DOWN_SECONDS:.0f} seconds; "
                "try again when it is down."
            )
    await service.store.host_changes.remove_lost(host.id, at, request.note())
    return no_content()


def _host(request: Call) -> Host:
    id, store = request.path_params["host_id"], request.service.store
    host = store.host(id)
    if host is not None:
        return host
    unstarted = store.unstarted_hosts().get(id)
    if unstarted is not None:
        raise Busy(f"{unstarted.name} {NOT_STARTED}; start Cenote there, or remove the host.")
    raise NotFound


def host_views(service: Service) -> list[HostView]:
    clusters = [stored.value for stored in service.store.clusters()]
    promised = scheduling.promises(clusters)
    started = [
        _view(service, host, promised.get(host.id, NOTHING), clusters) for host in service.store.known_hosts()
    ]
    unstarted = [_unstarted(id, host) for id, host in service.store.unstarted_hosts().items()]
    return sorted([*started, *unstarted], key=lambda view: (view.name, view.id))


def _unstarted(id: str, host: AdmittedHost) -> HostView:
    return HostView(
        id=id,
        name=host.name,
        address=host.address,
        zone=host.zone,
        roles=list(host.roles),
        state=HostState.DOWN,
        reason=NOT_STARTED,
        cpus=0,
        memory_mib=0,
        promised_memory_mib=0,
        disk_mib=0,
        promised_storage_mib=0,
        clusters=0,
        versions={},
        cenote_version="",
        ports=PortsView(0, 0, 0, 0),
        unknown=(),
        deleted_clusters=0,
        deleted_mib=0,
        backups=HostBackupsView("", 0, default=False, warning="", problem=""),
        fleet_address=host.address,
        fleet_port=host.port,
    )


def _view_of(service: Service, id: str) -> HostView:
    host = service.store.host(id)
    if host is None:
        raise NotFound
    clusters = [stored.value for stored in service.store.clusters()]
    return _view(service, host, scheduling.promises(clusters).get(id, NOTHING), clusters)


def _view(service: Service, host: Host, promised: Promise, clusters: Sequence[Cluster]) -> HostView:
    store = service.store
    state, gone = store.host_state(host.id), store.gone().get(host.id)
    since = None if gone is None else gone.since
    drain = host_states.drained(store.drains().get(host.id), promised.nodes)
    removed = store.removed_host(host.id)
    told = [host_states.in_words(host, state, since, drain)]
    if drain is not None:
        told += hindrances(service, host.id, clusters)
    if removed is not None:
        told.append("its removal was interrupted: repeat it")
    deleted = [
        store.status(one.id, node.name)
        for one in clusters
        for node in one.nodes
        if one.is_put_away and node.host == host.id
    ]
    return HostView(
        id=host.id,
        name=host.name,
        address=host.address,
        zone=host.zone,
        roles=list(host.roles),
        state=state,
        since=since or UNSET,
        reason="; ".join(filter(None, told)),
        drain=UNSET if drain is None else DrainView(drain.asked_at, drain.nodes, drain.moved),
        cpus=host.cpus,
        memory_mib=host.memory_mib,
        promised_memory_mib=promised.memory_mib,
        disk_mib=host.disk_mib,
        promised_storage_mib=promised.storage_mib,
        clusters=sum(host_states.nodes_on(host.id, [cluster]) > 0 for cluster in clusters),
        versions=host.versions,
        cenote_version=host.cenote_version,
        ports=PortsView(host.first_port, host.last_port, len(store.ports(host.id)), len(host.busy_ports)),
        unknown=host.unknown,
        deleted_clusters=len(deleted),
        deleted_mib=sum(0 if one is None else one.used_mib for one in deleted),
        backups=HostBackupsView(
            repository=host.repository,
            days=host.backup_days,
            default=host.default_repository,
            warning=host.repository_warning,
            problem=host.repository_problem,
        ),
        fleet_address=host.fleet_address,
        fleet_port=host.fleet_port,
    )


ROUTES = (list_hosts, drain_host, undrain_host, remove_host)
