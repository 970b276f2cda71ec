"""Log sinks: create, list, get, update, delete.

Addresses of the host itself are rejected here if the configuration has them literally; host names are checked
when they are resolved, for each connection (``host/outbound.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from http import HTTPMethod
from typing import Any
from uuid import UUID, uuid4

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api import schema_fields
from cenote.api.auth import CREATE, DELETE, READ, UPDATE, VIEW_CREDENTIALS
from cenote.api.call import Call, PendingView
from cenote.api.operation import Body, answer, operation
from cenote.errors import Unavailable
from cenote.http.routing import Response
from cenote.logs import sinks
from cenote.logs.destinations import Address
from cenote.logs.sinks import SinkStatus
from cenote.model.records import Cluster, LogSink, SinkType

PATH = "/v2/databases/{database_cluster_uuid}/logsink"
ONE = PATH + "/{logsink_id}"


class CreateSink(Body):
    sink_name: schema_fields.SinkName
    sink_type: schema_fields.SinkKind
    config: schema_fields.SinkConfig


class UpdateSink(Body):
    """The complete new configuration; name and type cannot be changed."""

    config: schema_fields.SinkConfig


class DeliveryView(msgspec.Struct):
    """The state of delivery: ``state`` is starting, delivering, failing or unknown, ``reason`` says why.

    ``lag_bytes`` of the logs are not delivered yet, ``lost_bytes`` were dropped undelivered, and the
    destination rejected ``refused_messages``.
    """

    state: str
    reason: str
    delivered_at: datetime | None
    lag_bytes: int
    lost_bytes: int
    refused_messages: int


class SinkView(msgspec.Struct):
    sink_id: UUID
    sink_name: str
    sink_type: SinkType
    config: dict[str, Any]
    cenote: DeliveryView


class SinkAnswer(msgspec.Struct):
    sink: SinkView
    cenote: PendingView | UnsetType = UNSET


class SinksAnswer(msgspec.Struct):
    sinks: list[SinkView]


@operation(HTTPMethod.GET, PATH, scope=READ, answer=SinksAnswer)
async def list_sinks(request: Call) -> Response:
    """List the log sinks of a cluster with their state of delivery."""
    cluster = request.cluster().value
    statuses = await _statuses(request, cluster)
    return answer(SinksAnswer([_view(request, sink, statuses) for sink in cluster.sinks]))


@operation(
    HTTPMethod.POST,
    PATH,
    scope=CREATE,
    and_scope=VIEW_CREDENTIALS,
    status=201,
    body=CreateSink,
    answer=SinkAnswer,
)
async def create_sink(request: Call) -> Response:
    """Create a log sink, which forwards the logs of a cluster from now on.

    Logs may contain passwords, so it requires the scope for reading logs as well.
    """
    request.cluster()  # 404 takes precedence over an invalid body
    body = await request.decoded(CreateSink)
    name, type = sinks.sink_name(body.sink_name), sinks.sink_type(body.sink_type)
    sealed = await _sealed(request, type, body.config)
    sink = LogSink(id=uuid4(), name=name, type=type, sealed_config=sealed)
    changed = await request.change_cluster(lambda current: sinks.add(current, sink))
    view = _view(request, sink, await _statuses(request, changed.cluster))
    return answer(SinkAnswer(view, changed.pending), 201)


@operation(HTTPMethod.GET, ONE, scope=READ, answer=SinkView)
async def get_sink(request: Call) -> Response:
    """Get a log sink with its state of delivery, not wrapped in a key."""
    cluster = request.cluster().value
    sink = sinks.get(cluster, request.path_params["logsink_id"])
    return answer(_view(request, sink, await _statuses(request, cluster)))


@operation(HTTPMethod.PUT, ONE, scope=UPDATE, and_scope=VIEW_CREDENTIALS, body=UpdateSink)
async def update_sink(request: Call) -> Response:
    """Replace the configuration of a log sink; undelivered messages go to the new destination."""
    sink = sinks.get(request.cluster().value, request.path_params["logsink_id"])
    body = await request.decoded(UpdateSink)
    sealed = await _sealed(request, sink.type, body.config)
    await request.change_cluster(lambda current: sinks.change(current, sink.id, sealed))
    return Response(status_code=200)


@operation(HTTPMethod.DELETE, ONE, scope=DELETE)
async def delete_sink(request: Call) -> Response:
    """Delete a log sink."""
    sink = sinks.get(request.cluster().value, request.path_params["logsink_id"])
    await request.change_cluster(lambda current: sinks.remove(current, sink.id))
    return Response(status_code=200)


async def _sealed(request: Call, type: SinkType, given: dict[str, Any]) -> str:
    """Validate a configuration and return it sealed, as it is stored."""
    service, cluster = request.service, request.cluster().value
    allowed, asked = service.settings.log_sink_allow, set[Address]()

    def note(address: Address) -> bool:
        asked.add(address)
        return False

    # Only the host knows which addresses are its own, and the rules cannot ask it: so they are applied twice.
    sinks.parse_config(type, given, allowed, note)
    own = [
        one
        for one in asked
        if await service.observer.is_own(cluster.id, service.store.shown_node(cluster).name, one)
    ]
    config = sinks.parse_config(type, given, allowed, own.__contains__)
    return service.rings.host.seal(sinks.encode(config))


async def _statuses(request: Call, cluster: Cluster) -> Callable[[UUID], SinkStatus]:
    """Return the delivery statuses by sink, over all nodes; unknown, with the reason, for a silent host."""
    if not cluster.sinks:
        return lambda _: SinkStatus()
    nodes = request.service.shown_nodes(cluster)
    found = await asyncio.gather(*(_statuses_of(request, cluster, node.name) for node in nodes))
    by_node = dict(zip((node.name for node in nodes), found, strict=True))
    return lambda id: sinks.combined({name: of(id) for name, of in by_node.items()})


async def _statuses_of(request: Call, cluster: Cluster, node: str) -> Callable[[UUID], SinkStatus]:
    try:
        found = await request.service.observer.sinks(cluster.id, node)
    except Unavailable as error:
        unknown = SinkStatus(state="unknown", reason=error.message)
        return lambda _: unknown
    return lambda id: found.get(id, SinkStatus())


def _view(request: Call, sink: LogSink, statuses: Callable[[UUID], SinkStatus]) -> SinkView:
    config = sinks.decode(sink.type, request.service.rings.host.open(sink.sealed_config))
    return SinkView(
        sink_id=sink.id,
        sink_name=sink.name,
        sink_type=sink.type,
        config=sinks.visible_config(config, credentials=request.caller.sees_credentials),
        cenote=msgspec.convert(statuses(sink.id), DeliveryView, from_attributes=True),
    )


ROUTES = (list_sinks, create_sink, get_sink, update_sink, delete_sink)
