"""The maintenance window of a cluster, and installing updates ahead of it."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod

from msgspec.structs import replace

from cenote.api import schema_fields
from cenote.api.auth import UPDATE
from cenote.api.service import Body, Call, no_content, operation
from cenote.http.routing import Response
from cenote.model.records import EventType
from cenote.rules import maintenance

PATH = "/v2/databases/{database_cluster_uuid}"


class MoveWindow(Body):
    """``hour`` is a time of the day in UTC; the other two are shown and can't be chosen."""

    day: schema_fields.Day
    hour: schema_fields.Hour
    pending: bool | None = None
    description: list[str] | None = None


@operation(HTTPMethod.PUT, PATH + "/maintenance", scope=UPDATE, status=204, body=MoveWindow)
async def move_window(request: Call) -> Response:
    """Choose when updates may restart the servers of a cluster: within four hours from then, each week."""
    cluster = request.cluster().value
    wanted = await request.decoded(MoveWindow)
    window = maintenance.window(wanted.day, wanted.hour)
    await request.service.store.update_cluster(
        cluster.id,
        lambda current: replace(current, maintenance_window=window),
        request.note(EventType.CLUSTER_UPDATE),
    )
    return no_content()


@operation(HTTPMethod.PUT, PATH + "/install_update", scope=UPDATE, status=204)
async def install_update(request: Call) -> Response:
    """Restart what runs another program than the one that is installed, now; nothing where all is current."""
    now = datetime.now(UTC)
    await request.change_cluster(
        lambda current: replace(current, update_asked_at=now), EventType.CLUSTER_MAINTENANCE_PERFORM
    )
    return no_content()


ROUTES = (move_window, install_update)
