"""Live statistics of a cluster's pools as server-sent events, an extension of Cenote."""

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

MAX_STREAMS = 8  # per token
HEARTBEAT_SECONDS = 15.0
RETRY_MILLISECONDS = 2_000  # after which a client reconnects
SAMPLES_PER_ADVICE = 3
NEW_CLIENT_SECONDS = 15.0  # how far back a new stream begins
RESUME_SECONDS = 15 * 60.0  # how far back a stream can be resumed


class LivePoolView(msgspec.Struct, kw_only=True):
    """A sample of a pool; rates cover the time since the previous sample."""

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
    """``at`` is in seconds of the Unix epoch; ``busy`` is the share of the host's CPUs in use."""

    at: float
    connections: ConnectionsView
    busy: float | None
    pools: list[LivePoolView]


class EndView(msgspec.Struct):
    """Why there are no samples, or why the stream ends; empty when samples resume."""

    reason: str


@operation(
    HTTPMethod.GET,
    "/v2/databases/{database_cluster_uuid}/pool_stats/stream",
    scope=READ,
    answer=LiveView,
    streams=True,
)
async def stream_pool_stats(request: Call) -> Response:
    """Stream live statistics of a cluster's pools as server-sent events.

    An event `sample` follows every 2 seconds, as described below; `advice` has the response of `pool_advice`
    whenever it changes, and `unavailable` the reason why there are no samples. `Last-Event-ID` resumes a
    stream after that sample. The stream ends with an event `end` when the token becomes invalid or the
    cluster is deleted. A token may have 8 streams at a time.
    """
    cluster, token = request.cluster().value, request.caller.token.id
    streams = request.service.streams
    if streams[token] >= MAX_STREAMS:
        raise TooManyRequests(message=f"A token may have {MAX_STREAMS} streams at a time.")
    streams[token] += (
        1  # without an await since the check, so that concurrent requests cannot exceed the limit
    )
    return EventStream(partial(_events, request, cluster.id), partial(_release, streams, token))


def _release(streams: Counter[UUID], token: UUID) -> None:
    streams[token] -= 1
    if not streams[token]:
        del streams[token]


async def _events(request: Call, id: UUID) -> AsyncIterator[bytes]:
    service = request.service
    sampler = service.sampler
    last, advised, problem, begun = _resume_from(request, sampler.now()), b"", "", False
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    async with sampler.watch(id) as watch:
        while not sampler.closed:  # then the stream ends without an event, so that the client reconnects
            try:
                cluster = _still_allowed(request, id)
            except CenoteError as error:
                yield event("end", EndView(error.message))
                return
            for at, rows in _rows(sampler.history(id), last):
                last = at
                yield event("sample", _live(sampler.history(id), cluster, at, rows), str(round(1000 * at)))
            if watch.problem != problem:
                problem = watch.problem
                yield event("unavailable", EndView(problem))
            if watch.samples % SAMPLES_PER_ADVICE == 1 or not begun:
                views = advice_views(service, cluster)
                if msgspec.json.encode(views) != advised:
                    advised = msgspec.json.encode(views)
                    yield event("advice", views)
            begun = True
            if not await watch.next(HEARTBEAT_SECONDS):
                yield HEARTBEAT


def _still_allowed(request: Call, id: UUID) -> Cluster:
    """Return the current cluster; raise if it was deleted or the token has become invalid."""
    authorization = request.headers.get("authorization", "").encode("latin-1")
    authenticate(request.service.store, authorization)
    return request.service.cluster(str(id)).value


def _resume_from(request: Call, now: float) -> float:
    """Return the time of the client's last sample, limited to how long samples are kept."""
    text = request.headers.get("last-event-id", "")
    if text.isascii() and text.isdigit() and len(text) <= 15:
        return max(int(text) / 1000 + 0.001, now - RESUME_SECONDS)
    return now - NEW_CLIENT_SECONDS


def _rows(past: ClusterHistory, last: float) -> Iterator[tuple[float, dict[str, dict[str, float]]]]:
    """Return the samples after a time, by time and by pool."""
    found: dict[float, dict[str, dict[str, float]]] = {}
    for name, pool in past.pools.items():
        for at, row in pool.samples.rows(pool.samples.since(last)):
            if at > last:
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
