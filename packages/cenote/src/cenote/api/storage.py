"""Storage that grows by itself."""

from __future__ import annotations

from http import HTTPMethod

import msgspec
from msgspec.structs import replace

from cenote.api.auth import READ, UPDATE
from cenote.api.service import Body, Call, answer, no_content, operation
from cenote.api.views import AutoscaleView, StorageAutoscaleView, storage_autoscale_view
from cenote.http.routing import Response
from cenote.model.records import EventType, StorageAutoscale
from cenote.rules import storage

PATH = "/v2/databases/{database_cluster_uuid}/autoscale"


class StorageBody(Body):
    """When the storage grows, in percent of it that are used, and by how much."""

    enabled: bool = False
    threshold_percent: int | None = None
    increment_gib: int | None = None

    def wanted(self) -> StorageAutoscale:
        return storage.autoscale(self.enabled, self.threshold_percent, self.increment_gib)


class ReplaceAutoscale(Body):
    """Without ``storage`` all stays as it is."""

    storage: StorageBody | None = None


class AutoscaleAnswer(msgspec.Struct):
    """Some clients read the one key and some the other."""

    autoscale: AutoscaleView
    storage: StorageAutoscaleView


@operation(HTTPMethod.GET, PATH, scope=READ, answer=AutoscaleAnswer)
async def get_autoscale(request: Call) -> Response:
    """Get how the storage of a cluster grows by itself."""
    view = storage_autoscale_view(request.cluster().value)
    return answer(AutoscaleAnswer(AutoscaleView(view), view))


@operation(HTTPMethod.PUT, PATH, scope=UPDATE, status=204, body=ReplaceAutoscale)
async def replace_autoscale(request: Call) -> Response:
    """Choose how the storage of a cluster grows by itself."""
    cluster = request.cluster().value
    wanted = await request.decoded(ReplaceAutoscale)
    if wanted.storage is not None:
        rule = wanted.storage.wanted()
        await request.service.store.update_cluster(
            cluster.id,
            lambda current: replace(current, autoscale=rule),
            request.note(EventType.CLUSTER_UPDATE),
        )
    return no_content()


ROUTES = (get_autoscale, replace_autoscale)
