"""Having another node of a cluster take writes, an extension of Cenote.

The request begins the switch and waits for a moment, in which it is mostly over; the controller carries it
out, and ``cenote.switchover`` of the cluster shows how far it is.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api import schema_fields
from cenote.api.auth import UPDATE
from cenote.api.call import Call
from cenote.api.clusters import ONE
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.switch_view import SwitchView, switch_view
from cenote.http.routing import Response
from cenote.model.event_records import EventType
from cenote.model.records import Cluster
from cenote.rules import switches

PATH = ONE + "/switchover"


class SwitchOver(Body):
    """The node that is to take writes, by default the one that lacks least.

    Given up is what has not succeeded within ``seconds``, by default 60, such as for a transaction in a pool
    that does not end.  With ``cut``, clients with such a transaction are disconnected instead.
    """

    candidate: schema_fields.NodeName | None = None
    seconds: int | None = None
    cut: bool = False


class SwitchAnswer(msgspec.Struct):
    """``primary`` is the node that takes writes; ``switchover`` is left out once that is the wanted one."""

    primary: str
    switchover: SwitchView | UnsetType = UNSET


@operation(HTTPMethod.POST, PATH, scope=UPDATE, status=202, body=SwitchOver, answer=SwitchAnswer, also=(412,))
async def switch_over(request: Call) -> Response:
    """Have another node of a cluster take writes, while it is in use.

    Clients of pools of transactions and statements are held for a moment and notice nothing; those of pools
    of sessions and of the direct port are disconnected.
    """
    body = await request.decoded(SwitchOver)
    service, id = request.service, request.cluster().value.id

    def begun(current: Cluster) -> Cluster:
        return switches.begun(
            current,
            service.store.leader(current),
            service.store.reports(id),
            datetime.now(UTC),
            candidate=body.candidate or "",
            seconds=switches.DEFAULT_SECONDS if body.seconds is None else body.seconds,
            cut=body.cut,
        )

    stored = await service.store.update_cluster(id, begun, request.note(EventType.CLUSTER_UPDATE))

    def is_over() -> bool | None:
        now = service.store.living_cluster(id)
        return now is None or now.switchover is None or None

    await service.store.wait(is_over, service.settings.wait_seconds)
    now = service.store.living_cluster(id) or stored.value
    leader = service.store.leader(now) or ""
    return answer(SwitchAnswer(leader, switch_view(service, now)), 202)


@operation(HTTPMethod.DELETE, PATH, scope=UPDATE, status=204, also=(422,))
async def cancel_switch(request: Call) -> Response:
    """Give up a switch that waits; one for which another node takes over at this moment goes on."""
    note = request.note(EventType.CLUSTER_UPDATE)
    await request.service.store.update_cluster(request.cluster().value.id, switches.cancelled, note)
    return no_content()


ROUTES = (switch_over, cancel_switch)
