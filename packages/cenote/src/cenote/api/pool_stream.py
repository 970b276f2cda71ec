"""What goes on in the pools of a cluster, as it happens: an addition of Cenote's."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http import HTTPMethod
from uuid import UUID

import msgspec

from cenote.api.auth import READ, authenticate
from cenote.api.pool_advice import advice_views
from cenote.api.pool_history import ConnectionsView, connections_view
from cenote.api.service import Call, operation
from cenote.api.streaming import HEARTBEAT, EventStream, event
from cenote.errors import CenoteError, TooManyRequests
from cenote.http.routing import Response
from cenote.model.records import Cluster, Pool, PoolMode
from cenote.stats.history import ClusterHistory

MOST_STREAMS = 8  # of one token
HEARTBEAT_SECONDS = 15.0
RETRY_MILLISECONDS = 2_000  # after which a client comes back by itself
ADVICE_EVERY = 3  # looks
FRESH_SECONDS = 15.0  # so old may the first sample be that is told
BACK_SECONDS = 15 * 60.0  # and so old one that was told before


class LivePoolView(msgspec.Struct, kw_only=True):
    """A pool at a moment; rates are of the time since the sample before."""

    name: str
    mode: PoolMode
    size: int
    clients_active: int
    clients_waiting: int
    servers_active: int
    servers_idle: int
    longest_wait_seconds: float
    transactions_per_second: float
    queries_per_second: float
    in_transaction: float
    in_query: float


class LiveView(msgspec.Struct):
    """``at`` is in seconds of the Unix epoch, ``busy`` the share of the processors."""

    at: float
    connections: ConnectionsView
    busy: float | None
    pools: list[LivePoolView]


class EndView(msgspec.Struct):
    """Why there is nothing to tell, or nothing any more; empty when there is again."""

    reason: str


@operation(
    HTTPMethod.GET,
    "/v2/databases/{database_cluster_uuid}/pool_stats/stream",
    scope=READ,
    answer=LiveView,
    streams=True,
)
async def stream_pool_stats(request: Call) -> Response:
    """Follow what goes on in the pools of a cluster, as server-sent events.

    An event `sample` each 2 seconds is as below, `advice` has what `pool_advice` answers whenever that is
    another one, and `unavailable` the reason why nothing is to be seen. `Last-Event-ID` has the samples since
    then told again. The stream ends with an event `end` when the token is no longer good or the cluster is
    gone. A token may have 8 streams at a time.
    """
    cluster, token = request.cluster().value, request.caller.token.id
    streams = request.service.streams
    if streams[token] >= MOST_STREAMS:
        raise TooManyRequests(message=f"A token may have {MOST_STREAMS} streams at a time.")
    streams[token] += 1  # before anything is waited for, so that calls at once do not get past the limit
    return EventStream(partial(_events, request, cluster.id), partial(_leave, streams, token))


def _leave(streams: Counter[UUID], token: UUID) -> None:
    streams[token] -= 1
    if not streams[token]:
        del streams[token]


async def _events(request: Call, id: UUID) -> AsyncIterator[bytes]:
    service = request.service
    sampler = service.sampler
    told, advised, problem, looked = _last_told(request, sampler.now()), b"", "", 0
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    async with sampler.watch(id) as watch:
        while not sampler.closed:  # then it is left without a word, so that the client comes back
            try:
                cluster = _still_allowed(request, id)
            except CenoteError as error:
                yield event("end", EndView(error.message))
                return
            for at, rows in _rows(sampler.history(id), told):
                told = at
                yield event("sample", _live(sampler.history(id), cluster, at, rows), str(round(1000 * at)))
            if watch.problem != problem:
                problem = watch.problem
                yield event("unavailable", EndView(problem))
            if watch.samples % ADVICE_EVERY == 1 or not looked:
                views = advice_views(service, cluster)
                if msgspec.json.encode(views) != advised:
                    advised = msgspec.json.encode(views)
                    yield event("advice", views)
            looked += 1
            if not await watch.next(HEARTBEAT_SECONDS):
                yield HEARTBEAT


def _still_allowed(request: Call, id: UUID) -> Cluster:
    """Return the cluster as it is now; raise when it is gone, or the token is no longer good."""
    authorization = request.headers.get("authorization", "").encode("latin-1")
    authenticate(request.service.store, authorization)
    return request.service.cluster(str(id)).value


def _last_told(request: Call, now: float) -> float:
    """Return the time of the last sample that the client has, at most as far back as samples are kept."""
    text = request.headers.get("last-event-id", "")
    if text.isascii() and text.isdigit() and len(text) <= 15:
        return max(int(text) / 1000 + 0.001, now - BACK_SECONDS)
    return now - FRESH_SECONDS


def _rows(past: ClusterHistory, told: float) -> Iterator[tuple[float, dict[str, dict[str, float]]]]:
    """Return what is known since a time, by time and by pool."""
    found: dict[float, dict[str, dict[str, float]]] = {}
    for name, pool in past.pools.items():
        for at, row in pool.samples.rows(pool.samples.since(told)):
            if at > told:
                found.setdefault(at, {})[name] = row
    return iter(sorted(found.items()))


def _live(past: ClusterHistory, cluster: Cluster, at: float, rows: dict[str, dict[str, float]]) -> LiveView:
    machine = past.machine.samples
    index = machine.since(at)
    known = index < len(machine)
    return LiveView(
        at=round(at, 3),
        connections=connections_view(cluster, int(machine["sessions"][index]) if known else None),
        busy=round(machine["busy"][index], 3) if known else None,
        pools=[_pool_view(pool, rows[pool.name]) for pool in cluster.pools if pool.name in rows],
    )


def _pool_view(pool: Pool, row: dict[str, float]) -> LivePoolView:
    return LivePoolView(
        name=pool.name,
        mode=pool.mode,
        size=int(row["size"]),
        clients_active=int(row["clients_active"]),
        clients_waiting=int(row["clients_waiting"]),
        servers_active=int(row["servers_active"]),
        servers_idle=int(row["servers_idle"]),
        longest_wait_seconds=round(row["longest_wait"], 3),
        transactions_per_second=round(row["transactions"], 2),
        queries_per_second=round(row["queries"], 2),
        in_transaction=round(row["in_transaction"], 3),
        in_query=round(row["in_query"], 3),
    )


ROUTES = (stream_pool_stats,)
