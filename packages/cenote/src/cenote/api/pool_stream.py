"""Live statistics of a cluster's pools as server-sent events, an extension of Cenote."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from functools import partial
from http import HTTPMethod
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api import poolers
from cenote.api.auth import READ, authenticate
from cenote.api.call import Call
from cenote.api.operation import operation
from cenote.api.pool_advice import AdviceView, current_advice
from cenote.api.pool_history import ConnectionsView, connections_view
from cenote.api.service import Service
from cenote.api.streaming import HEARTBEAT, EventStream, event
from cenote.errors import CenoteError, TooManyRequests, Unavailable
from cenote.http.routing import Response
from cenote.model.records import Cluster, Node, Pool, PoolMode
from cenote.stats.history_sums import LiveSums
from cenote.stats.observer import Sample, Samples

MAX_STREAMS = 8  # per token
HEARTBEAT_SECONDS = 15.0
RETRY_MILLISECONDS = 2_000  # after which a client reconnects
SAMPLES_PER_ADVICE = 3
RECONNECT_SECONDS = 1.0  # after which a host that does not answer is asked again


class LivePoolView(msgspec.Struct, kw_only=True):
    """A sample of a pool, over all ``poolers`` that are counted; each of them has this ``size``.

    Rates cover the time since the previous sample.
    """

    name: str
    mode: PoolMode
    size: int
    poolers: int
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
    """``at`` is in seconds of the Unix epoch; ``busy`` is the share of the CPUs of the primary's host in use.

    ``not_counted`` names the hosts of the cluster that do not answer, and why; it is left out without any.
    """

    at: float
    connections: ConnectionsView
    busy: float | None
    pools: list[LivePoolView]
    not_counted: list[str] | UnsetType = UNSET


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
    service, cluster = request.service, request.cluster().value
    heard, sent, advised, problem = 0, time.monotonic(), b"", ""
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    nodes = service.pooler_nodes(cluster)
    following = _sums(service, id, nodes, _last_event(request))
    async with contextlib.aclosing(following):  # it ends at shutdown, without an event: the client reconnects
        async for found in following:
            try:
                cluster = _still_allowed(request, id)
            except CenoteError as error:
                yield event("end", EndView(error.message))
                return
            if {node.host for node in service.pooler_nodes(cluster)} != {node.host for node in nodes}:
                return  # the client connects again, and then all are followed
            events = [
                event("sample", _live(cluster, one), str(round(1000 * one.sample.at))) for one in found.sums
            ]
            if found.problem != problem:
                problem = found.problem
                events.append(event("unavailable", EndView(problem)))
            if heard % SAMPLES_PER_ADVICE == 0:
                views = await _advice(service, cluster)
                if views is not None and msgspec.json.encode(views) != advised:
                    advised = msgspec.json.encode(views)
                    events.append(event("advice", views))
            heard += 1
            if not events and time.monotonic() - sent > HEARTBEAT_SECONDS:
                events.append(HEARTBEAT)
            for one in events:
                sent = time.monotonic()
                yield one


class _Sum(msgspec.Struct, frozen=True, kw_only=True):
    """A sample over so many poolers, and which are not counted, in words."""

    sample: Sample
    poolers: int
    not_counted: tuple[str, ...]


class _Sums(msgspec.Struct, frozen=True, kw_only=True):
    """The next sums, often none or one; ``problem`` says why there are none, empty if all is well."""

    sums: list[_Sum]
    problem: str


async def _sums(
    service: Service, id: UUID, nodes: Sequence[Node], after: float
) -> AsyncGenerator[_Sums, None]:
    """Follow the poolers of these nodes; each answer of one of them may make a sum over all."""
    live = LiveSums([node.name for node in nodes])
    answers: asyncio.Queue[tuple[str, Samples] | Exception | None] = asyncio.Queue(maxsize=len(nodes))

    async def follow(name: str) -> None:
        try:
            async with contextlib.aclosing(_samples(service, id, name, after)) as following:
                async for found in following:
                    await answers.put((name, found))
            await answers.put(None)
        except Exception as error:
            await answers.put(error)

    tasks = [asyncio.create_task(follow(node.name), name=f"pools of {node.name}") for node in nodes]
    try:
        while (answered := await answers.get()) is not None:
            if isinstance(answered, Exception):
                raise answered
            name, found = answered
            made = live.add(name, found)
            silent = tuple(
                poolers.in_words(service, node, live.problems[node.name])
                for node in nodes
                if live.problems.get(node.name)
            )
            yield _Sums(
                sums=[_Sum(sample=sample, poolers=count, not_counted=silent) for sample, count in made],
                problem=live.problems[name] if len(silent) == len(nodes) else "",
            )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _samples(service: Service, id: UUID, node: str, after: float) -> AsyncGenerator[Samples, None]:
    """Follow the samples; while the host does not answer, say so and keep asking it."""
    while True:
        try:
            async with contextlib.aclosing(service.observer.samples(id, node, after)) as following:
                async for found in following:
                    after = found.samples[-1].at if found.samples else after
                    yield found
            return
        except Unavailable as error:
            yield Samples(problem=error.message)
        await asyncio.sleep(RECONNECT_SECONDS)


async def _advice(service: Service, cluster: Cluster) -> list[AdviceView] | None:
    try:
        return (await current_advice(service, cluster)).advice
    except Unavailable:
        return None


def _still_allowed(request: Call, id: UUID) -> Cluster:
    """Return the current cluster; raise if it was deleted or the token has become invalid."""
    authorization = request.headers.get("authorization", "").encode("latin-1")
    authenticate(request.service.store, authorization)
    return request.service.cluster(str(id)).value


def _last_event(request: Call) -> float:
    """Return the time of the client's last sample, 0 for a new client."""
    text = request.headers.get("last-event-id", "")
    if text.isascii() and text.isdigit() and len(text) <= 15:
        return int(text) / 1000 + 0.001
    return 0.0


def _live(cluster: Cluster, found: _Sum) -> LiveView:
    sample = found.sample
    return LiveView(
        at=round(sample.at, 3),
        connections=connections_view(cluster, sample.sessions),
        busy=None if sample.busy is None else round(sample.busy, 3),
        pools=[
            _pool_view(pool, sample.pools[pool.name], found.poolers)
            for pool in cluster.pools
            if pool.name in sample.pools
        ],
        not_counted=list(found.not_counted) or UNSET,
    )


def _pool_view(pool: Pool, row: dict[str, float], poolers: int) -> LivePoolView:
    return LivePoolView(
        name=pool.name,
        mode=pool.mode,
        size=int(row["size"]),
        poolers=poolers,
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
