"""For how many days a cluster can be undeleted once it is deleted, an extension of Cenote."""

from __future__ import annotations

from http import HTTPMethod

from msgspec.structs import replace

from cenote import rules
from cenote.api import schema_fields
from cenote.api.auth import UPDATE
from cenote.api.call import Call
from cenote.api.clusters import ONE
from cenote.api.operation import Body, no_content, operation
from cenote.http.routing import Response
from cenote.model.event_records import EventType
from cenote.model.records import Cluster

PATH = ONE + "/undelete_days"


class ReplaceUndeleteDays(Body):
    """With 0 it is removed at once when it is deleted; null: as the service says."""

    days: schema_fields.UndeleteDays | None


@operation(HTTPMethod.PUT, PATH, scope=UPDATE, status=204, body=ReplaceUndeleteDays, also=(412,))
async def replace_undelete_days(request: Call) -> Response:
    """Set for how many days the cluster can be undeleted once it is deleted."""
    cluster = request.cluster().value
    days = (await request.decoded(ReplaceUndeleteDays)).days
    if days is not None:
        rules.undelete_days(days)

    def changed(current: Cluster) -> Cluster:
        return current if current.undelete_days == days else replace(current, undelete_days=days)

    note = request.note(EventType.CLUSTER_UPDATE)
    await request.service.store.update_cluster(cluster.id, changed, note)
    return no_content()


ROUTES = (replace_undelete_days,)
