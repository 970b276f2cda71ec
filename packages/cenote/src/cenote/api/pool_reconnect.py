"""Replacement of a pool's server connections, an extension of Cenote.

A server keeps the plans of prepared statements for as long as the connection lasts.  After a change of a
table they fail with "cached plan must not change result type", in all clients that share the connection.
"""

from __future__ import annotations

import asyncio
from http import HTTPMethod

import msgspec
from msgspec import UNSET, UnsetType

from cenote import rules
from cenote.api import pools
from cenote.api.auth import UPDATE
from cenote.api.call import Call, PendingView
from cenote.api.operation import answer, operation
from cenote.api.service import Service
from cenote.errors import Unavailable
from cenote.http.routing import Response
from cenote.model.records import Cluster

POLL_SECONDS = 0.1


class ReconnectView(msgspec.Struct):
    """``connections_left`` are those still to be replaced; None while the pooler does not tell."""

    pool: str
    connections_left: int | None


class ReconnectAnswer(msgspec.Struct):
    reconnect: ReconnectView
    cenote: PendingView | UnsetType = UNSET


@operation(HTTPMethod.POST, pools.ONE + "/reconnect", scope=UPDATE, answer=ReconnectAnswer)
async def reconnect_pool(request: Call) -> Response:
    """Replace the server connections of a pool; no client is disconnected and no query fails.

    Each is replaced when its client releases it: after a transaction, or in session mode when the client
    disconnects.  Responds when all are replaced, or after some seconds with the number of those left.
    """
    name = request.path_params["pool_name"]
    pools.pool_of(request.cluster().value, name)
    changed = await request.change_cluster(lambda current: rules.reconnect_pool(current, name))
    left = None
    if changed.pending is UNSET:
        left = await _connections_left(request.service, changed.cluster, name)
    return answer(ReconnectAnswer(ReconnectView(name, left), changed.pending))


async def _connections_left(service: Service, cluster: Cluster, pool: str) -> int | None:
    """Return how many connections are still to be replaced, after waiting for them for some seconds."""
    left: int | None = None
    try:
        async with asyncio.timeout(service.settings.wait_seconds):
            while left != 0:
                if left is not None:
                    await asyncio.sleep(POLL_SECONDS)
                node = service.store.shown_node(cluster).name
                left = (await service.observer.outdated_connections(cluster.id, node)).get(pool, 0)
    except (TimeoutError, Unavailable):
        pass  # the change is in force; the number is the last one seen
    return left


ROUTES = (reconnect_pool,)
