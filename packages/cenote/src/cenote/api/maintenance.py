"""The maintenance window of a cluster, and installing updates before it."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod

from msgspec.structs import replace

from cenote.api import schema_fields
from cenote.api.auth import UPDATE
from cenote.api.call import Call
from cenote.api.operation import Body, no_content, operation
from cenote.http.routing import Response
from cenote.model.event_records import EventType
from cenote.rules import maintenance

PATH = "/v2/databases/{database_cluster_uuid}"


class MoveWindow(Body):
    """``hour`` is a time of day in UTC; the other fields are read-only and ignored."""

    day: schema_fields.Day
    hour: schema_fields.Hour
    pending: bool | None = None
    description: list[str] | None = None


@operation(HTTPMethod.PUT, PATH + "/maintenance", scope=UPDATE, status=204, body=MoveWindow)
async def move_window(request: Call) -> Response:
    """Set the weekly maintenance window: the four hours in which updates may restart the servers."""
    cluster = request.cluster().value
    body = await request.decoded(MoveWindow)
    window = maintenance.window(body.day, body.hour)
    await request.service.store.update_cluster(
        cluster.id,
        lambda current: replace(current, maintenance_window=window),
        request.note(EventType.CLUSTER_UPDATE),
    )
    return no_content()


@operation(HTTPMethod.PUT, PATH + "/install_update", scope=UPDATE, status=204)
async def install_update(request: Call) -> Response:
    """Install updates now: restart the servers that run an outdated program."""
    now = datetime.now(UTC)
    await request.change_cluster(
        lambda current: replace(current, update_asked_at=now), EventType.CLUSTER_MAINTENANCE_PERFORM
    )
    return no_content()


ROUTES = (move_window, install_update)
