"""Recovering a cluster from its backups, an extension of Cenote for the scope ``cenote:admin``.

GET tells what would come of it; POST begins it and responds at once.  The health of the cluster, with its
reason, shows how far it is.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPMethod

import msgspec
from msgspec.structs import replace

from cenote import rules
from cenote.api import placement, schema_fields
from cenote.api.auth import ADMIN
from cenote.api.call import Call
from cenote.api.clusters import ONE
from cenote.api.operation import Body, answer, operation
from cenote.api.service import Service
from cenote.errors import Busy, Conflict, Unavailable
from cenote.http.routing import Response
from cenote.model import catalog, topology
from cenote.model.backups import Archived
from cenote.model.event_records import EventType
from cenote.model.records import Cluster, Node
from cenote.rules import cluster_backups, lineages, record_formats, recoveries, replicas
from cenote.rules.host_states import HostState
from cenote.rules.recoveries import Loss, NodeSeen
from cenote.rules.scheduling import Wanted
from cenote.store import PortTaken

PATH = ONE + "/recover"


class RecoverCluster(Body):
    """The host, by name or id, or the zone that the cluster is to be recovered on; without, one is chosen.

    Without ``num_nodes`` it gets as many nodes as it had.  Further ones copy the data when they are there.
    """

    host: schema_fields.WishedHost | None = None
    zone: schema_fields.Zone | None = None
    num_nodes: schema_fields.NodeCount | None = None


class RecoveryView(msgspec.Struct, kw_only=True):
    """What a cluster is recovered from, and on which host.

    ``archived_at`` is when its newest WAL was written to the repository: what was committed later is missing.
    ``lost_at`` is when its data was last there, as far as is known, and ``missing_seconds`` the time in
    between, the most that can be missing.  ``loss`` is ``removed`` or ``down``, of its former host, or
    ``missing``, of its data directory.  ``nodes`` are the hosts of all nodes, by name, ``host`` that of the
    first.  ``changed`` says in words what will not be as it was.
    """

    host: str
    former_host: str
    loss: Loss
    repository: str
    backups: int
    archived_at: datetime | None
    lost_at: datetime
    missing_seconds: int | None
    nodes: list[str]
    changed: list[str]


class RecoveryAnswer(msgspec.Struct):
    recovery: RecoveryView


@operation(
    HTTPMethod.GET,
    PATH,
    scope=ADMIN,
    answer=RecoveryAnswer,
    query=("host", "zone", "num_nodes"),
    also=(412, 422),
    of_replica=replicas.AT_SOURCE,
)
async def get_recovery(request: Call) -> Response:
    """Say where and from what a cluster would be recovered, and what would be missing; nothing is changed."""
    service, cluster = request.service, request.cluster().value
    host, zone = placement.wish(request.query_params.get("host"), request.query_params.get("zone"))
    asked = request.query_params.get("num_nodes") or ""
    count = _count(cluster, int(asked) if asked.isdecimal() else 0 if asked else None)
    found, unfit = check(service, cluster), Unfit()
    while True:
        nodes = _chosen(service, cluster, found, Wish(host, zone, count), unfit)
        try:
            there = await archived(service, cluster, nodes[0])
        except NoBackup as error:  # another host may read another repository
            unfit.unreadable[nodes[0].host] = error
            continue
        return answer(RecoveryAnswer(_view(service, cluster, found, nodes, there)))


@operation(
    HTTPMethod.POST,
    PATH,
    scope=ADMIN,
    status=202,
    body=RecoverCluster,
    answer=RecoveryAnswer,
    also=(412,),
    of_replica=replicas.AT_SOURCE,
)
async def recover_cluster(request: Call) -> Response:
    """Recover a cluster whose host is lost or down from its backups, on another host.

    It keeps its id, users, passwords and CA, and its ports where they are free.  What was committed after the
    last archived WAL is missing.  When its former host is back, the copy there is stopped, kept in the trash
    for some days, and archives nothing.
    """
    service, cluster = request.service, request.cluster().value
    body = await request.decoded(RecoverCluster)
    wish = Wish(*placement.wish(body.host, body.zone), _count(cluster, body.num_nodes))
    unfit = Unfit()
    while True:
        found = check(service, cluster)
        nodes = await _claimed(service, cluster, found, wish, unfit)
        hosts = dict.fromkeys(node.host for node in nodes)
        try:
            there = await archived(service, cluster, nodes[0])
            view = _view(service, cluster, found, nodes, there)
            await _write(request, cluster, found, nodes, there)
            return answer(RecoveryAnswer(view), 202)
        except PortTaken as error:
            await placement.release(service, cluster.id, hosts)
            unfit.refusals.add(error.host, error.ports)
            cluster = request.cluster().value
        except NoBackup as error:
            await placement.release(service, cluster.id, hosts)
            unfit.unreadable[nodes[0].host] = error
        except BaseException:
            await placement.release(service, cluster.id, hosts)
            raise


def _count(cluster: Cluster, asked: int | None) -> int:
    """Return how many nodes a cluster is to have: as many as it had, unless another number was asked for."""
    return topology.node_count(cluster) if asked is None else rules.num_nodes(asked)


class NoBackup(Busy):
    """A host has no backup of a cluster: it has another repository, or that does not answer."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Where a cluster is to be recovered, "" for anywhere, and with how many nodes."""

    host: str
    zone: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Unfit:
    """Hosts that cannot have a cluster: for want of ports or of an answer, or of a backup that they read."""

    refusals: placement.Refusals = field(default_factory=placement.Refusals)
    unreadable: dict[str, NoBackup] = field(default_factory=dict)


def check(service: Service, cluster: Cluster) -> Loss:
    """Return why a cluster may be recovered; Busy or Invalid, in words, if it may not."""
    store = service.store
    record_formats.check_readers(store.known_hosts(), record_formats.WITH_RESTORES)
    lost = recoveries.lost_node(cluster)
    others = [] if cluster.move is not None else [node for node in cluster.nodes if node != lost]
    for node in (lost, *others):
        if store.host_state(node.host) is not HostState.UP and node.host == service.settings.host_id:
            raise Busy(
                f"{_name(service, node)}, a host of the cluster, answers this request: it is not lost."
            )
    return recoveries.loss(
        cluster, _seen(service, cluster, lost), [_seen(service, cluster, node) for node in others]
    )


def _seen(service: Service, cluster: Cluster, node: Node) -> NodeSeen:
    store = service.store
    state, is_missing = store.host_state(node.host), store.data_missing(cluster, node)
    return NodeSeen(node, _name(service, node), state, is_missing)


def new_mark(now: datetime, there: Archived) -> str:
    """Return a mark that no other recovery has, and that is newer than those in the repository."""
    return lineages.mark(now, secrets.token_hex(4), there.lineage)


async def archived(service: Service, cluster: Cluster, node: Node) -> Archived:
    """Return what the repository has, as the host of a new node reads it; Busy if that is no backup."""
    name = _name(service, node)
    try:
        found = await service.archives.archived(cluster.id, node.host)
    except Unavailable as error:
        raise NoBackup(f"{name} cannot read what there is in the repository: {error.message}") from None
    if not found.backups:
        raise NoBackup(f"{found.repository}, as {name} reads it, has no backup of this cluster.")
    return found


def _chosen(service: Service, cluster: Cluster, found: Loss, wish: Wish, unfit: Unfit) -> tuple[Node, ...]:
    """Return the nodes; if no host is left, the reason is why one before cannot read a backup."""
    try:
        first = recoveries.target(
            cluster,
            found,
            placement.candidates(service, unfit.refusals.ports),
            host=wish.host,
            zone=wish.zone,
            limits=placement.limits(service),
            spared=unfit.refusals.silent.keys() | unfit.unreadable.keys(),
        )
    except (Busy, Unavailable):
        if unfit.unreadable:
            raise next(iter(unfit.unreadable.values())) from None
        raise
    return with_standbys(service, cluster, first, wish, unfit.refusals)


def with_standbys(
    service: Service, cluster: Cluster, first: Node, wish: Wish, refusals: placement.Refusals
) -> tuple[Node, ...]:
    """Return a node that gets the data of a cluster, and those that copy it then."""
    if wish.count == 1:
        return (first,)
    wanted = Wanted(
        version=cluster.version,
        memory_mib=catalog.SIZES[cluster.size].memory_mib,
        storage_mib=cluster.storage_mib,
        zone=wish.zone,
    )
    distinct = cluster.distinct_hosts
    others = placement.standbys(service, first, wish.count - 1, wanted, refusals, distinct=distinct)
    return (first, *others)


async def _claimed(
    service: Service, cluster: Cluster, found: Loss, wish: Wish, unfit: Unfit
) -> tuple[Node, ...]:
    """Return the nodes, with ports that their hosts have claimed; the former host has some already."""

    def choose() -> tuple[Node, ...]:
        return _chosen(service, cluster, found, wish, unfit)

    return await placement.all_claimed(service, cluster.id, unfit.refusals, choose, cluster.nodes)


async def _write(
    request: Call, cluster: Cluster, found: Loss, nodes: tuple[Node, ...], there: Archived
) -> None:
    service, now = request.service, datetime.now(UTC)
    former = recoveries.lost_node(cluster), cluster.nodes
    note = request.note(EventType.CLUSTER_UPDATE)
    note = replace(note, what=f"recovers it from its backups on {_name(service, nodes[0])}")

    knows_losses = record_formats.are_read(service.store.known_hosts(), record_formats.WITH_NODES)

    def recovered(current: Cluster) -> Cluster:
        lost = recoveries.lost_node(current)
        if (lost, current.nodes) != former or check(service, current) is not found:
            raise Conflict("The cluster was changed meanwhile; try again.")
        changed = recoveries.recovered(current, nodes[0], now, new_mark(now, there), nodes[1:], there.version)
        reports = service.store.reports(current.id)
        return cluster_backups.with_every_loss(changed, reports, read=knows_losses)

    # Those whose host is down; one without its data says so itself.
    away = {node.host for node in cluster.nodes if node.lost_at is None}
    away = {host for host in away if service.store.host_state(host) is not HostState.UP}
    conditions = [service.store.is_absent(host) for host in sorted(away)] if cluster.move is None else []
    try:
        await service.store.update_cluster(cluster.id, recovered, note, *conditions)
    except PortTaken:
        raise
    except Conflict:
        check(service, request.cluster().value)  # its host may be back, which is to be said
        raise


def _view(
    service: Service, cluster: Cluster, found: Loss, nodes: tuple[Node, ...], there: Archived
) -> RecoveryView:
    lost = recoveries.lost_node(cluster)
    lost_at = (_lost_at(service, cluster, lost) or datetime.now(UTC)).replace(microsecond=0)
    return RecoveryView(
        host=_name(service, nodes[0]),
        former_host=_name(service, lost),
        loss=found,
        repository=there.repository,
        backups=len(there.backups),
        archived_at=there.archived_at,
        lost_at=lost_at,
        missing_seconds=recoveries.missing_seconds(there.archived_at, lost_at),
        nodes=[_name(service, node) for node in nodes],
        changed=[*recoveries.version_change(cluster, there.version), *port_changes(lost, nodes[0])],
    )


def _lost_at(service: Service, cluster: Cluster, lost: Node) -> datetime | None:
    """Return when the data of a node was last there, as far as that is known."""
    gone, report = service.store.gone().get(lost.host), service.store.status(cluster.id, lost.name)
    if lost.lost_at is not None:
        return lost.lost_at
    if gone is not None:
        return gone.since
    return None if report is None else report.since


def port_changes(former: Node, now: Node) -> list[str]:
    """Return in words which ports a node has not kept."""
    told = []
    if former.port != now.port:
        told.append(
            f"Its port is {now.port}, and that of its pools {now.pool_port}: the former ones, {former.port} "
            f"and {former.pool_port}, are in use."
        )
    if former.metrics_port != now.metrics_port:
        told.append(f"The port of its metrics is {now.metrics_port}, and was {former.metrics_port}.")
    return told


def _name(service: Service, node: Node) -> str:
    host, removed = service.store.host(node.host), service.store.removed_host(node.host)
    if host is not None:
        return host.name
    return node.host if removed is None else removed.name


ROUTES = (get_recovery, recover_cluster)
