"""HTTPS endpoints for Prometheus to scrape, one port for each cluster with a node on this host.

A scrape target is only a host and port, so the port identifies the cluster.  Each endpoint has its cluster's
certificate and admits the cluster's trusted sources.  The credentials are the same for all clusters
(``/v2/databases/metrics/credentials``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar
from uuid import UUID

from uvicorn.server import ServerState

from cenote.errors import TooManyRequests, Unavailable
from cenote.front.metrics_certificates import MetricsCertificates
from cenote.http.routing import Receive, Scope, Send
from cenote.http.server import protocol_config
from cenote.http.timeouts import TimeoutProtocol
from cenote.http.tls_listener import TLSListener
from cenote.metrics import cluster_metrics
from cenote.metrics.cluster_metrics import ClusterNumbers
from cenote.metrics.exposition import CONTENT_TYPE
from cenote.model import firewall
from cenote.model.records import Cluster, Node
from cenote.security import basic_auth
from cenote.security.sealing import Sealer
from cenote.stats.observer import Observer
from cenote.store import Store, Stored
from cenote.store.encoding import NewerFormat

T = TypeVar("T")
Refusal = tuple[int, bytes, tuple[bytes, bytes]]  # status, body and a header

log = logging.getLogger(__name__)

ANSWER_SECONDS = 6.0  # timeout for a server or a pooler


class MetricsEndpoint:
    """Serves the metrics of the clusters with a node on this host; ports open and close with the records."""

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        observer: Observer,
        host: str,
        listen: Iterable[str],
        state: ServerState,
    ) -> None:
        """``state`` is the API server's, which closes these connections at shutdown together with its own."""
        self._store, self._sealer, self._observer = store, sealer, observer
        self._certificates = MetricsCertificates(sealer)
        self._host, self._listen, self._state = host, tuple(listen), state
        self._listeners: dict[UUID, tuple[int, asyncio.Task[None]]] = {}
        self._clusters: dict[int, UUID] = {}
        self._queries: dict[tuple[UUID, str], asyncio.Task[Any]] = {}
        self._basic_auth = basic_auth.BasicAuth()
        self._config = protocol_config(self._serve)

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            with self._store.changes() as changes:
                async for id in changes:
                    self._follow(id)
        finally:
            tasks = [*(task for _, task in self._listeners.values()), *self._queries.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # -- Listening

    def _follow(self, id: UUID) -> None:
        """Open, move or close the port of a cluster whose record has changed."""
        try:
            stored = self._store.cluster(id)
        except NewerFormat:
            return  # its port stays as it is
        node = None if stored is None else self._node(stored.value)
        port, task = self._listeners.get(id, (None, None))
        if node is not None and node.metrics_port == port:
            return
        if task is not None and port is not None:
            task.cancel()
            del self._listeners[id]
            self._certificates.forget(id)
            self._clusters.pop(port, None)
        if node is None or not node.metrics_port:  # the controller allocates one
            return
        self._clusters[node.metrics_port] = id
        task = asyncio.create_task(self._listener(id, node.metrics_port).serve(), name=f"metrics of {id}")
        self._listeners[id] = node.metrics_port, task

    def _listener(self, id: UUID, port: int) -> TLSListener:
        return TLSListener(
            self._listen,
            port,
            lambda client: (stored := self._store.cluster(id)) is not None and _admits(stored.value, client),
            lambda: self._certificate(id),
            lambda: TimeoutProtocol(self._config, self._state, {}),
        )

    def _node(self, cluster: Cluster) -> Node | None:
        if cluster.deleted_at is not None:
            return None
        return next(iter(self._nodes(cluster)), None)

    def _nodes(self, cluster: Cluster) -> list[Node]:
        """Return the nodes here; while a cluster moves, the other one is there for the move alone."""
        here = [node for node in cluster.nodes if node.host == self._host]
        return here if cluster.move is None else here[:1]

    def _certificate(self, id: UUID) -> bytes | None:
        stored = self._store.cluster(id)
        return None if stored is None else self._certificates.of(stored.value)

    # -- Serving

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        server, client = scope["server"], scope["client"]
        id = None if server is None else self._clusters.get(server[1] or 0)
        stored = None if id is None else self._store.cluster(id)
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        if stored is None or stored.value.deleted_at is not None:
            await _send(send, 404, b"cluster not found\n")
        elif client is None or not _admits(stored.value, client[0]):
            await _send(send, 403, b"not a trusted source of this cluster\n")
        elif (refused := self._refused(authorization, client[0])) is not None:
            await _send(send, *refused)
        elif scope["path"] != "/metrics":
            await _send(send, 404, b"not found; the metrics are at /metrics\n")
        elif scope["method"] not in ("GET", "HEAD"):
            await _send(send, 405, b"method not allowed\n", (b"allow", b"GET, HEAD"))
        else:
            page = await self._page(stored)
            await _send(send, 200, page, (b"content-type", CONTENT_TYPE.encode()))

    def _refused(self, authorization: bytes | None, address: str) -> Refusal | None:
        try:
            if self._basic_auth.admits(authorization, self._store.metrics_login(), self._sealer, address):
                return None
        except TooManyRequests as error:
            return 429, f"{error.message}\n".encode(), (b"retry-after", b"%d" % (error.retry_after or 0))
        return 401, b"the metrics credentials are required\n", basic_auth.CHALLENGE

    async def _page(self, stored: Stored[Cluster]) -> bytes:
        cluster = stored.value
        here = self._nodes(cluster) or [self._store.shown_node(cluster)]
        numbers = await asyncio.gather(*(self._numbers(cluster, node.name, here[0].name) for node in here))
        full_version = self._store.full_version(cluster) or cluster.version
        # In a thread, since a page of many databases takes a while to render.
        return await asyncio.to_thread(cluster_metrics.render, cluster, full_version, numbers)

    async def _numbers(self, cluster: Cluster, node: str, with_pooler: str) -> ClusterNumbers:
        id, host = cluster.id, self._store.host(self._host)
        server, pools = await asyncio.gather(
            self._query(id, f"server of {node}", lambda: self._observer.server(id, node)),
            self._query(id, "pools", lambda: self._observer.pools(id, with_pooler)),
        )
        return ClusterNumbers(
            host=self._host if host is None else host.name,
            node=node,
            status=self._store.status(id, node),
            certificate_expires_at=None if server is None else server.certificate_expires_at,
            certificate_valid=None if server is None else server.certificate_valid,
            server=server,
            pools=pools,
            leader=self._store.leader(cluster),
            has_pooler=node == with_pooler,
        )

    async def _query(self, id: UUID, source: str, query: Callable[[], Awaitable[T]]) -> T | None:
        """Return the result of a query; None if it fails or times out.

        Concurrent scrapes share one query, so a server that hangs gets no second one.
        """
        key = id, source
        task = self._queries.get(key)
        if task is None:
            task = self._queries[key] = asyncio.create_task(_unless_unavailable(query))
            task.add_done_callback(lambda _: self._queries.pop(key, None))
        done, _ = await asyncio.wait({task}, timeout=ANSWER_SECONDS)
        return task.result() if done else None


async def _unless_unavailable(query: Callable[[], Awaitable[T]]) -> T | None:
    try:
        return await query()
    except Unavailable as error:
        log.debug("%s", error)
        return None


def _admits(cluster: Cluster, client: str) -> bool:
    address = firewall.parse_address(client)
    return address is not None and firewall.admits(firewall.networks(cluster.firewall), address)


async def _send(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    given = [(b"content-length", b"%d" % len(body)), *headers]
    if b"content-type" not in dict(headers):
        given.append((b"content-type", b"text/plain; charset=utf-8"))
    await send({"type": "http.response.start", "status": status, "headers": given})
    await send({"type": "http.response.body", "body": body, "more_body": False})
