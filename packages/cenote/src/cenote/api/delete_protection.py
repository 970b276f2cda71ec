"""Protection from deletion, an extension of Cenote: a cluster cannot be deleted until it is turned off."""

from __future__ import annotations

from http import HTTPMethod

from msgspec.structs import replace

from cenote.api.auth import UPDATE
from cenote.api.call import Call
from cenote.api.clusters import ONE
from cenote.api.operation import Body, no_content, operation
from cenote.http.routing import Response
from cenote.model.event_records import EventType
from cenote.model.records import Cluster

PATH = ONE + "/delete_protection"


class ReplaceDeleteProtection(Body):
    enabled: bool


@operation(HTTPMethod.PUT, PATH, scope=UPDATE, status=204, body=ReplaceDeleteProtection, also=(412,))
async def replace_delete_protection(request: Call) -> Response:
    """Turn the protection of a cluster from deletion on or off.

    While it is on, deleting the cluster is refused with 422.
    """
    cluster = request.cluster().value
    enabled = (await request.decoded(ReplaceDeleteProtection)).enabled

    def changed(current: Cluster) -> Cluster:
        if current.delete_protection == enabled:
            return current
        return replace(current, delete_protection=enabled)

    note = request.note(EventType.CLUSTER_UPDATE)
    await request.service.store.update_cluster(cluster.id, changed, note)
    return no_content()


ROUTES = (replace_delete_protection,)
