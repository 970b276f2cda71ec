"""What many clusters do at this moment, at a glance and at little cost: an addition of Cenote's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from http import HTTPMethod
from uuid import UUID

import msgspec

from cenote.api.auth import READ
from cenote.api.service import Call, Service, answer, operation
from cenote.errors import Invalid, NotFound, Unavailable
from cenote.http.routing import Response
from cenote.model.records import Cluster
from cenote.rules import configuration
from cenote.stats.observer import PoolNumbers

PATH = "/v2/cenote/activity"
MOST_CLUSTERS = 100


class UsedView(msgspec.Struct):
    """Server connections that pools hold, and how many all of them may have."""

    used: int
    allowed: int


class NumbersView(msgspec.Struct):
    """All pools of a cluster together.  ``waiting`` are clients whose query waits for a connection."""

    connections: UsedView
    clients: int
    waiting: int
    transactions_per_second: float


class ActivityView(msgspec.Struct):
    """``numbers`` is null where the pooler did not answer in time."""

    cluster_uuid: UUID
    numbers: NumbersView | None


class ActivityAnswer(msgspec.Struct):
    activity: list[ActivityView]


@operation(HTTPMethod.GET, PATH, scope=READ, answer=ActivityAnswer, query=("cluster_uuids",), also=(422,))
async def list_activity(request: Call) -> Response:
    """List what goes on in the pools of several clusters, as of the last three seconds.

    ``cluster_uuids`` names up to 100 clusters, with commas between; one that is not there is left out.
    """
    names = list(dict.fromkeys(filter(None, request.query_params.get("cluster_uuids", "").split(","))))
    if len(names) > MOST_CLUSTERS:
        raise Invalid(f"cluster_uuids: at most {MOST_CLUSTERS} clusters can be asked for, not {len(names)}.")
    clusters = [cluster for name in names if (cluster := _cluster(request.service, name)) is not None]
    found = await asyncio.gather(*(_numbers(request.service, cluster) for cluster in clusters))
    views = [ActivityView(cluster.id, one) for cluster, one in zip(clusters, found, strict=True)]
    return answer(ActivityAnswer(views))


def _cluster(service: Service, name: str) -> Cluster | None:
    try:
        return service.cluster(name).value
    except NotFound:
        return None


async def _numbers(service: Service, cluster: Cluster) -> NumbersView | None:
    allowed = configuration.pool_capacity(cluster)
    if not cluster.pools:
        return NumbersView(UsedView(0, allowed), 0, 0, 0.0)
    glance = _glance(service, cluster)
    await asyncio.wait({glance})  # whoever goes away takes it from nobody else
    pools = glance.result()
    if pools is None:
        return None
    numbers = [pools.get(pool.name, PoolNumbers()) for pool in cluster.pools]
    used = sum(one.servers_active + one.servers_idle + one.servers_connecting for one in numbers)
    return NumbersView(
        connections=UsedView(used, allowed),
        clients=sum(one.clients_active + one.clients_waiting for one in numbers),
        waiting=sum(one.clients_waiting for one in numbers),
        transactions_per_second=sum(one.transaction_rate for one in numbers),
    )


def _glance(service: Service, cluster: Cluster) -> asyncio.Task[Mapping[str, PoolNumbers] | None]:
    """Return the question to a pooler that all who look at this moment share."""
    now, oldest = time.monotonic(), service.timing.activity_max_age
    for id in [id for id, (at, _) in service.recent_pool_stats.items() if now - at > oldest]:
        del service.recent_pool_stats[id]
    if cluster.id not in service.recent_pool_stats:
        task = asyncio.create_task(_asked(service, cluster), name=f"a glance at {cluster.id}")
        service.recent_pool_stats[cluster.id] = now, task
    return service.recent_pool_stats[cluster.id][1]


async def _asked(service: Service, cluster: Cluster) -> Mapping[str, PoolNumbers] | None:
    try:
        async with asyncio.timeout(service.timing.activity_timeout):
            return await service.observer.pools(cluster)
    except (Unavailable, TimeoutError):
        return None


ROUTES = (list_activity,)
