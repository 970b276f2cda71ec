"""Current pool activity of many clusters in one cheap call, an extension of Cenote."""

from __future__ import annotations

import asyncio
import time
from http import HTTPMethod
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api.auth import READ
from cenote.api.call import Call
from cenote.api.operation import answer, operation
from cenote.api.poolers import PoolSums, pool_numbers
from cenote.api.service import Service
from cenote.errors import Invalid, NotFound, Unavailable
from cenote.http.routing import Response
from cenote.model.records import Cluster
from cenote.rules import configuration
from cenote.stats.observer import PoolNumbers

PATH = "/v2/cenote/activity"
MAX_CLUSTERS = 100


class UsedView(msgspec.Struct):
    """Server connections that pools use, and the limit of all pools together, on all hosts that answered."""

    used: int
    allowed: int


class NumbersView(msgspec.Struct):
    """Totals of a cluster's pools.  ``waiting`` counts clients whose query waits for a server connection."""

    connections: UsedView
    clients: int
    waiting: int
    transactions_per_second: float


class ActivityView(msgspec.Struct, kw_only=True):
    """``numbers`` is null if no PgBouncer of the cluster answered in time.

    ``not_counted`` names the hosts whose PgBouncer did not, and why; it is left out without any.
    """

    cluster_uuid: UUID
    numbers: NumbersView | None
    not_counted: list[str] | UnsetType = UNSET


class ActivityAnswer(msgspec.Struct):
    activity: list[ActivityView]


@operation(HTTPMethod.GET, PATH, scope=READ, answer=ActivityAnswer, query=("cluster_uuids",), also=(422,))
async def list_activity(request: Call) -> Response:
    """List the pool activity of several clusters, at most three seconds old.

    ``cluster_uuids`` is a comma-separated list of up to 100 clusters; unknown ones are left out.
    """
    names = list(dict.fromkeys(filter(None, request.query_params.get("cluster_uuids", "").split(","))))
    if len(names) > MAX_CLUSTERS:
        raise Invalid(f"cluster_uuids: at most {MAX_CLUSTERS} clusters are allowed, not {len(names)}.")
    looked_up = await asyncio.gather(*(_cluster(request.service, name) for name in names))
    clusters = [cluster for cluster in looked_up if cluster is not None]
    views = await asyncio.gather(*(_view(request.service, cluster) for cluster in clusters))
    return answer(ActivityAnswer(list(views)))


async def _cluster(service: Service, name: str) -> Cluster | None:
    try:
        return (await service.confirmed_cluster(name)).value
    except NotFound:
        return None


async def _view(service: Service, cluster: Cluster) -> ActivityView:
    allowed = configuration.pool_capacity(cluster)
    if not cluster.pools:
        return ActivityView(cluster_uuid=cluster.id, numbers=NumbersView(UsedView(0, allowed), 0, 0, 0.0))
    query = _shared_query(service, cluster)
    # Not ``await query``: a client that disconnects must not cancel it for others.
    await asyncio.wait({query})
    found = query.result()
    if found is None:
        return ActivityView(cluster_uuid=cluster.id, numbers=None)
    numbers = [found.pools.get(pool.name, PoolNumbers()) for pool in cluster.pools]
    used = sum(one.servers_active + one.servers_idle + one.servers_connecting for one in numbers)
    view = NumbersView(
        connections=UsedView(used, allowed * found.poolers),
        clients=sum(one.clients_active + one.clients_waiting for one in numbers),
        waiting=sum(one.clients_waiting for one in numbers),
        transactions_per_second=sum(one.transaction_rate for one in numbers),
    )
    return ActivityView(cluster_uuid=cluster.id, numbers=view, not_counted=found.not_counted or UNSET)


def _shared_query(service: Service, cluster: Cluster) -> asyncio.Task[PoolSums | None]:
    """Return the query of a cluster's PgBouncer, shared by all concurrent requests."""
    now, oldest = time.monotonic(), service.timing.activity_max_age
    for id in [id for id, (at, _) in service.recent_pool_stats.items() if now - at > oldest]:
        del service.recent_pool_stats[id]
    if cluster.id not in service.recent_pool_stats:
        task = asyncio.create_task(_query(service, cluster), name=f"pool activity of {cluster.id}")
        service.recent_pool_stats[cluster.id] = now, task
    return service.recent_pool_stats[cluster.id][1]


async def _query(service: Service, cluster: Cluster) -> PoolSums | None:
    try:
        async with asyncio.timeout(service.timing.activity_timeout):
            return await pool_numbers(service, cluster)
    except (Unavailable, TimeoutError):
        return None


ROUTES = (list_activity,)
