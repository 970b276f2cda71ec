"""Moving a cluster to another host, an extension of Cenote for the scope ``cenote:admin``.

The request begins the move and responds at once; the controller carries it out, and ``cenote.move`` of the
cluster shows how far it is.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod

import msgspec
from msgspec import UnsetType

from cenote.api import placement, schema_fields
from cenote.api.auth import ADMIN
from cenote.api.call import Call
from cenote.api.clusters import ONE
from cenote.api.move_view import MoveView, move_view
from cenote.api.operation import Body, answer, no_content, operation
from cenote.http.routing import Response
from cenote.model.event_records import EventType
from cenote.model.records import Cluster, Node
from cenote.rules import moves, record_formats, replicas
from cenote.store import PortTaken

PATH = ONE + "/move"


class MoveCluster(Body):
    """The host, by name or id, or the zone that the cluster is to be moved to; without, one is chosen."""

    host: schema_fields.WishedHost | None = None
    zone: schema_fields.Zone | None = None


class MoveAnswer(msgspec.Struct):
    move: MoveView


@operation(
    HTTPMethod.POST,
    PATH,
    scope=ADMIN,
    status=202,
    body=MoveCluster,
    answer=MoveAnswer,
    also=(412,),
    of_replica=replicas.NOT_MOVED,
)
async def move_cluster(request: Call) -> Response:
    """Move a cluster to another host, while it is in use.

    Its data are copied first.  Then clients of its pools are held for a moment, while the new host takes
    over; clients of the direct port are disconnected.  Until nobody uses it any more, the former address of
    the pools leads to the new host.
    """
    body = await request.decoded(MoveCluster)
    moved = await _begun(request, body)
    view = move_view(request.service, moved)
    assert not isinstance(view, UnsetType)
    return answer(MoveAnswer(view), 202)


@operation(HTTPMethod.DELETE, PATH, scope=ADMIN, status=204, also=(412, 422))
async def cancel_move(request: Call) -> Response:
    """Cancel the move of a cluster; not possible any more once its new host has taken over."""
    note = request.note(EventType.CLUSTER_UPDATE)
    await request.service.store.update_cluster(request.cluster().value.id, moves.cancelled, note)
    return no_content()


async def _begun(request: Call, body: MoveCluster) -> Cluster:
    """Begin the move of the cluster in the path, once there is a host with ports for it."""
    service, refusals = request.service, placement.Refusals()

    def check(cluster: Cluster) -> None:
        record_formats.check_readers(service.store.known_hosts())
        seen = service.report(cluster)
        moves.check(cluster, seen, service.status(cluster))

    host, zone = placement.wish(body.host, body.zone)

    def choose() -> Node:
        return moves.target(
            request.cluster().value,
            placement.candidates(service, refusals.ports),
            host=host,
            zone=zone,
            limits=placement.limits(service),
            spared=refusals.silent.keys(),
        )

    cluster = request.cluster().value
    check(cluster)
    id = cluster.id
    while True:
        target = await placement.claimed(service, id, refusals, choose)

        def begun(current: Cluster) -> Cluster:
            check(current)
            return moves.begun(current, target, datetime.now(UTC))  # noqa: B023 - called before the next turn

        note = request.note(EventType.CLUSTER_UPDATE)
        try:
            return (await service.store.update_cluster(id, begun, note)).value
        except PortTaken as error:
            await service.ports.release(id, target.host)
            refusals.add(error.host, error.ports)
        except BaseException:
            await service.ports.release(id, target.host)
            raise


ROUTES = (move_cluster, cancel_move)
