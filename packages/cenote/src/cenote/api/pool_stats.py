"""Current statistics of pools, and the connections left to allocate, an extension of Cenote."""

from __future__ import annotations

from http import HTTPMethod

import msgspec
from msgspec import UNSET, UnsetType

from cenote import rules
from cenote.api import pools
from cenote.api.auth import READ
from cenote.api.call import Call
from cenote.api.operation import answer, operation
from cenote.api.poolers import PoolSums, pool_numbers
from cenote.conf.pgbouncer import STATS_SECONDS
from cenote.http.routing import Response
from cenote.model.records import Cluster, Pool
from cenote.stats.observer import PoolNumbers


class ClientsView(msgspec.Struct):
    """``waiting`` counts clients whose query waits for a server connection."""

    active: int
    waiting: int


class ServersView(msgspec.Struct):
    """Connections of the pool to PostgreSQL."""

    active: int
    idle: int
    connecting: int


class RatesView(msgspec.Struct):
    transactions: float
    queries: float
    received_bytes: float
    sent_bytes: float


class AveragesView(msgspec.Struct):
    transaction: float
    query: float
    wait: float


class TotalsView(msgspec.Struct):
    """Counted since the cluster's PgBouncer was started."""

    transactions: int
    queries: int
    received_bytes: int
    sent_bytes: int
    wait_seconds: float


class AllocationView(msgspec.Struct):
    """Server connections of the cluster: the total for pools, the number allocated, and the number left."""

    connections: int
    allocated: int
    left: int


class PoolStatsView(msgspec.Struct):
    """All numbers are over so many ``poolers``, one on each host of the cluster, each with this ``size``.

    Rates and averages cover the last complete period of ``period_seconds``; ``longest_wait_seconds`` is the
    longest of all.
    """

    name: str
    size: int
    poolers: int
    clients: ClientsView
    servers: ServersView
    longest_wait_seconds: float
    per_second: RatesView
    average_seconds: AveragesView
    period_seconds: int
    since_start: TotalsView
    cluster: AllocationView


class PoolStatsAnswer(msgspec.Struct, kw_only=True):
    """``not_counted`` names the hosts whose poolers did not answer, and why; it is left out without any."""

    stats: PoolStatsView
    not_counted: list[str] | UnsetType = UNSET


class AllPoolStatsAnswer(msgspec.Struct, kw_only=True):
    """``not_counted`` names the hosts whose poolers did not answer, and why; it is left out without any."""

    stats: list[PoolStatsView]
    not_counted: list[str] | UnsetType = UNSET


@operation(
    HTTPMethod.GET,
    "/v2/databases/{database_cluster_uuid}/pool_stats",
    scope=READ,
    answer=AllPoolStatsAnswer,
    also=(503,),
)
async def list_pool_stats(request: Call) -> Response:
    """List the current statistics of all connection pools of a cluster."""
    cluster = request.cluster().value
    found = await pool_numbers(request.service, cluster)
    views = [_view(cluster, pool, found) for pool in cluster.pools]
    return answer(AllPoolStatsAnswer(stats=views, not_counted=found.not_counted or UNSET))


@operation(HTTPMethod.GET, pools.ONE + "/stats", scope=READ, answer=PoolStatsAnswer, also=(503,))
async def get_pool_stats(request: Call) -> Response:
    """Get the current statistics of a connection pool."""
    cluster = request.cluster().value
    pool = pools.pool_of(cluster, request.path_params["pool_name"])
    found = await pool_numbers(request.service, cluster)
    view = _view(cluster, pool, found)
    return answer(PoolStatsAnswer(stats=view, not_counted=found.not_counted or UNSET))


def _view(cluster: Cluster, pool: Pool, found: PoolSums) -> PoolStatsView:
    numbers = found.pools.get(pool.name, PoolNumbers())
    left, connections = rules.unallocated_connections(cluster)
    return PoolStatsView(
        name=pool.name,
        size=pool.size,
        poolers=found.poolers,
        clients=ClientsView(numbers.clients_active, numbers.clients_waiting),
        servers=ServersView(numbers.servers_active, numbers.servers_idle, numbers.servers_connecting),
        longest_wait_seconds=numbers.longest_wait,
        per_second=RatesView(
            numbers.transaction_rate, numbers.query_rate, numbers.received_byte_rate, numbers.sent_byte_rate
        ),
        average_seconds=AveragesView(
            numbers.average_transaction, numbers.average_query, numbers.average_wait
        ),
        period_seconds=STATS_SECONDS,
        since_start=TotalsView(
            numbers.transactions,
            numbers.queries,
            numbers.received_bytes,
            numbers.sent_bytes,
            numbers.waited,
        ),
        cluster=AllocationView(connections, connections - left, left),
    )


ROUTES = (list_pool_stats, get_pool_stats)
