"""Storage autoscaling."""

from __future__ import annotations

from http import HTTPMethod

import msgspec
from msgspec.structs import replace

from cenote.api.auth import READ, UPDATE
from cenote.api.call import Call
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.views import AutoscaleView, StorageAutoscaleView, storage_autoscale_view
from cenote.http.routing import Response
from cenote.model.event_records import EventType
from cenote.model.records import StorageAutoscale
from cenote.rules import storage

PATH = "/v2/databases/{database_cluster_uuid}/autoscale"


class StorageBody(Body):
    """The usage, in percent, at which the storage grows, and by how much."""

    enabled: bool = False
    threshold_percent: int | None = None
    increment_gib: int | None = None

    def to_record(self) -> StorageAutoscale:
        return storage.autoscale(self.enabled, self.threshold_percent, self.increment_gib)


class ReplaceAutoscale(Body):
    """Without ``storage`` nothing changes."""

    storage: StorageBody | None = None


class AutoscaleAnswer(msgspec.Struct):
    """The same under two keys: some clients read the one, some the other."""

    autoscale: AutoscaleView
    storage: StorageAutoscaleView


@operation(HTTPMethod.GET, PATH, scope=READ, answer=AutoscaleAnswer)
async def get_autoscale(request: Call) -> Response:
    """Get the storage autoscaling of a cluster."""
    view = storage_autoscale_view(request.cluster().value)
    return answer(AutoscaleAnswer(AutoscaleView(view), view))


@operation(HTTPMethod.PUT, PATH, scope=UPDATE, status=204, body=ReplaceAutoscale)
async def replace_autoscale(request: Call) -> Response:
    """Set the storage autoscaling of a cluster."""
    cluster = request.cluster().value
    body = await request.decoded(ReplaceAutoscale)
    if body.storage is not None:
        rule = body.storage.to_record()
        await request.service.store.update_cluster(
            cluster.id,
            lambda current: replace(current, autoscale=rule),
            request.note(EventType.CLUSTER_UPDATE),
        )
    return no_content()


ROUTES = (get_autoscale, replace_autoscale)
