"""What operations are built from: the service with its dependencies, the request, and the declaration."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPMethod
from typing import Any, Protocol, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api import silence
from cenote.api.auth import Caller, UnknownTokens
from cenote.api.limits import MINUTE
from cenote.errors import Busy, Invalid, Malformed, NotFound, NotInForce, Unauthenticated, Unavailable
from cenote.http.routing import ClientDisconnect, Receive, Request, Response, Route, Scope, Send
from cenote.logs.destinations import Network
from cenote.model import topology
from cenote.model.by_sql import BySql
from cenote.model.parts import PartName
from cenote.model.records import (
    Cluster,
    ClusterStatus,
    EventType,
    Host,
    HostRole,
    Node,
    NodeStatus,
    Note,
    RemovalKind,
)
from cenote.model.timing import DEFAULT, Timing
from cenote.rules import host_names, in_force, removals, sql_changes
from cenote.rules.in_force import Progress
from cenote.security.basic_auth import BasicAuth
from cenote.security.certificates import Validity
from cenote.security.sealing import Rings, Sealer
from cenote.stats.advice import Advice
from cenote.stats.counters import Requests
from cenote.stats.observer import NO_HOST_KEYS, HostKeys, Observer, PoolNumbers
from cenote.store import Store, Stored

T = TypeVar("T")


class Ports(Protocol):
    """Claims on the ports of hosts for new clusters, beyond those in the store: see ``host.port_claims``."""

    async def claim(self, cluster_id: UUID, host_id: str, ports: Iterable[int]) -> frozenset[int]:
        """Claim ports for a cluster, all or none; return those that other programs have.

        Unavailable if the host does not answer.
        """
        ...

    async def release(self, cluster_id: UUID, host_id: str) -> None:
        """Give the claims up, if the host answers; else it does so by itself, after a while."""
        ...


class Unclaimed:
    """Claims nothing: an API that runs on no host."""

    async def claim(self, cluster_id: UUID, host_id: str, ports: Iterable[int]) -> frozenset[int]:
        return frozenset()

    async def release(self, cluster_id: UUID, host_id: str) -> None:
        pass


ANY = ""  # the scope of operations that any valid token may call
HOST_SECONDS = 3  # until a host may have announced itself
REPORT_SECONDS = 0.5  # until a report that was written is in the cache
_MAX_REQUEST_LINE = 300  # characters, in an event


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the API; a rate limit of 0 means no limit."""

    public_host: str = "localhost"  # of this API
    domain: str | None = None  # if set, the host name of a cluster is <name>.<domain>; else the hosts' one
    requests_per_hour: int = 5_000
    requests_per_minute: int = 250
    burst_seconds: float = MINUTE  # what a minute is in ``requests_per_minute``; tests have no minute
    wait_seconds: float = 5.0  # the longest that a change waits for the agent before it responds
    # The same for a new cluster and a resize, whose clients poll: doctl at once, and then after 10 s.
    online_wait_seconds: float = 1.5
    access_wait_seconds: float = 10.0  # the same for one that takes access away; clients give up after 15
    max_body_bytes: int = 1024 * 1024
    log_sink_allow: tuple[Network, ...] = ()  # otherwise forbidden networks that log sinks may use
    host_id: str = ""  # of the host that the API runs on
    memory_overcommit: float | None = None  # how often a host's memory may be promised; None: without limit
    undelete_days: int = 0  # for which a deleted cluster can be undeleted; 0: it is removed at once
    storage_overcommit: float | None = None  # the same for its storage
    fleet_place: tuple[str, int] | None = None  # address and port where other hosts ask to join


@dataclass(frozen=True, slots=True)
class CachedAdvice:
    """Advice on this version of a cluster; ``at`` is monotonic time."""

    at: float
    cluster: Cluster
    advice: tuple[Advice, ...]


@dataclass(frozen=True, slots=True)
class Service:
    store: Store
    rings: Rings
    settings: Settings
    observer: Observer
    timing: Timing = DEFAULT
    certificate_validity: Callable[[], Validity | None] = lambda: None
    host_keys: HostKeys = NO_HOST_KEYS
    ports: Ports = field(default_factory=Unclaimed)
    requests: Requests = field(default_factory=Requests)
    # The latest query of each cluster's PgBouncer for ``api/activity.py``, and when it began (monotonic).
    recent_pool_stats: dict[UUID, tuple[float, asyncio.Task[Mapping[str, PoolNumbers] | None]]] = field(
        default_factory=dict
    )
    advice: dict[UUID, CachedAdvice] = field(default_factory=dict)
    metrics_auth: BasicAuth = field(default_factory=BasicAuth)
    unknown_tokens: UnknownTokens = field(default_factory=UnknownTokens)
    streams: Counter[UUID] = field(default_factory=Counter)  # open event streams by token
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def sealer(self) -> Sealer:
        """Ring ``api``: all secrets but those of log sinks, which the agents open."""
        return self.rings.api

    @property
    def domain(self) -> str | None:
        """The domain in which clusters have names, if any."""
        return self.settings.domain or host_names.domain_of(self.store.names_in_dns.domains())

    def host_of(self, cluster: Cluster, *, private: bool = False) -> str:
        """Return the host name that clients of a cluster connect to, also while that host is away."""
        domain = self.domain
        if domain is not None:
            public, inner = host_names.in_domain(cluster.name, domain)
            return inner if private else public
        return self.address_of(topology.writer_or_first(cluster))

    def address_of(self, node: Node) -> str:
        """Return the address of a node's host, this API's where it is not known."""
        return host_names.address_of(node, self.store.hosts_by_id()) or self.settings.public_host

    def certificate_names(self, name: str, nodes: Iterable[Node]) -> tuple[str, ...]:
        """Return the names of a new cluster's certificate; the controller keeps them up to date."""
        hosts = self.store.hosts_by_id()
        domains = host_names.domains_of(self.store.names_in_dns.domains(), self.settings.domain)
        return host_names.of_certificate(name, nodes, hosts, domains)

    def cluster(self, text: str) -> Stored[Cluster]:
        """Return the cluster with this id; NotFound for a malformed id and for a deleted cluster, too."""
        id = _uuid(text)
        stored = None if id is None else self.store.cluster(id)
        if stored is None or stored.value.deleted_at is not None:
            raise NotFound
        return stored

    async def confirmed_cluster(self, text: str) -> Stored[Cluster]:
        """Return the cluster with this id; etcd is checked before raising NotFound."""
        try:
            return self.cluster(text)
        except NotFound:
            id = _uuid(text)
            if id is None or not await self.store.confirm_cluster(id):
                raise
        return self.cluster(text)

    async def living_hosts(self) -> list[Host]:
        """Return the hosts that are up and run clusters, and wait for one after a start.

        Unavailable when none comes: without any, nothing is known of what can be offered.
        """

        def running() -> list[Host] | None:
            return [host for host in self.store.hosts() if HostRole.DATABASE in host.roles] or None

        found = await self.store.wait(running, self.settings.wait_seconds)
        if not found:
            raise Unavailable("No host has announced itself yet; try again in a few seconds.", HOST_SECONDS)
        return found

    def report(self, cluster: Cluster) -> NodeStatus | None:
        """Return the last report on the cluster's writer."""
        return self.store.status(cluster.id, topology.writer_or_first(cluster).name)

    def by_sql(self, cluster: Cluster) -> BySql:
        """Return what SQL has changed and made on the cluster's writer, as it was last seen."""
        return sql_changes.of(self.report(cluster))

    async def look_for(self, cluster: Cluster, kind: RemovalKind, name: str) -> None:
        """Have the agent look at the server for a user or database that SQL may just have made.

        What is known already is not looked for.  A host that does not answer does not fail the request, and
        one that is lost is not asked.
        """

        def is_known() -> bool | None:
            return sql_changes.is_known(cluster, kind, name, self.by_sql(cluster)) or None

        if is_known() or self.is_lost(cluster):
            return
        with contextlib.suppress(Unavailable):
            await self.observer.look_again(cluster.id, topology.writer_or_first(cluster).name)
            await self.store.wait(is_known, REPORT_SECONDS)

    def topology(self, cluster: Cluster) -> topology.Topology:
        """Return the cluster as it is seen; no health is known while etcd does not answer.

        The host of this API is there, though its agent may not be: it is never taken for down.
        """
        presences = self.store.presences() if self.store.connected else None
        reports, absences = self.store.reports(cluster.id), self.store.absences(self.settings.host_id)
        return topology.topology(cluster, reports, presences, absences=absences)

    def hindrance(self, cluster: Cluster) -> NodeStatus | None:
        """Return the last report, which tells what a change waits for: the agent itself if that is away."""
        seen, now = self.report(cluster), self.topology(cluster)
        is_away = topology.writer_or_first(cluster).host not in self.store.presences()
        if seen is None or not (is_away or now.health is topology.Health.UNKNOWN):
            return seen
        why = silence.reason(self.store, cluster, self.began) or now.reason
        return msgspec.structs.replace(seen, reason=why, failing=True)

    def is_lost(self, cluster: Cluster) -> bool:
        """Return whether nobody is there to carry a change out."""
        return bool(silence.reason(self.store, cluster, self.began))

    async def wait_until_in_force(
        self, stored: Stored[Cluster], parts: Collection[PartName], *, required: bool
    ) -> str:
        """Wait until the agent has brought these parts to this revision; return why they are not, or "".

        The wait ends when the agent has failed, its host is lost, the cluster is deleted, or the time is
        over.  A change that is ``required`` to be in force waits while the agent tries again or its host is
        lost, and raises NotInForce in the end.
        """
        id, settings = stored.value.id, self.settings

        def seen() -> Progress:
            return in_force.progress(self.hindrance(stored.value), stored.revision, parts)

        def done() -> Progress | None:
            now = self.store.cluster(id)
            if now is None or now.value.deleted_at is not None:
                return Progress(in_force=True)
            found = seen()
            is_over = found.in_force or (not required and (found.failed or self.is_lost(now.value)))
            return found if is_over or silence.was_removed(now.value) else None

        seconds = settings.access_wait_seconds if required else settings.wait_seconds
        found = await self.store.wait(done, seconds) or seen()
        if found.in_force:
            return ""
        if required and not silence.was_removed(stored.value):
            raise NotInForce(silence.access_reason(self.store, stored.value, self.began) or found.reason)
        return found.reason

    async def wait_until_online(self, stored: Stored[Cluster]) -> Cluster:
        """Wait, shortly, until a cluster is online; return it as it is then.

        The wait ends when the agent has failed or the cluster is deleted.
        """

        def current() -> Cluster | None:
            now = self.store.cluster(stored.value.id)
            return None if now is None or now.value.deleted_at is not None else now.value

        def done() -> Cluster | None:
            cluster = current()
            if cluster is None:
                return stored.value
            seen = self.report(cluster)
            has_failed = seen is not None and seen.failing and seen.tried >= stored.revision
            is_online = topology.status(cluster, seen) is ClusterStatus.ONLINE
            return cluster if is_online or has_failed else None

        seconds = min(self.settings.wait_seconds, self.settings.online_wait_seconds)
        return await self.store.wait(done, seconds) or current() or stored.value

    async def wait_until_removed(
        self, stored: Stored[Cluster], kind: RemovalKind, name: str, *, required: bool
    ) -> None:
        """Wait until the agent has dropped a user or database; NotInForce if it has to be gone and is not."""

        def missing() -> str:
            now, seen = self.store.cluster(stored.value.id), self.hindrance(stored.value)
            if now is None or now.value.deleted_at is not None:
                return ""
            locked_out = in_force.progress(seen, stored.revision, in_force.LOCKED_OUT)
            if removals.is_pending(now.value, kind, name, seen):
                return removals.why(now.value, kind, name, seen)
            return "" if locked_out.in_force or kind is not RemovalKind.USER else locked_out.reason

        def is_over() -> bool | None:
            return not missing() or (not required and self.is_lost(stored.value)) or None

        required = required and not silence.was_removed(stored.value)
        seconds = self.settings.access_wait_seconds if required else self.settings.wait_seconds
        await self.store.wait(is_over, seconds)
        if required and (reason := missing()):
            raise NotInForce(silence.access_reason(self.store, stored.value, self.began) or reason)


class PendingView(msgspec.Struct):
    """An extension of Cenote: the change is recorded and not in force yet, and why."""

    reason: str
    pending: bool = True


@dataclass(frozen=True, slots=True)
class Changed:
    """A changed cluster; ``pending`` if the change is not in force yet."""

    cluster: Cluster
    pending: PendingView | UnsetType


class Call(Request):
    """A request with the service and the caller."""

    def __init__(self, service: Service, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.service = service

    @property
    def caller(self) -> Caller:
        caller: Caller | None = self.scope.get("auth")
        if caller is None:
            raise Unauthenticated
        return caller

    @property
    def request_id(self) -> str:
        return str(self.scope.get("request_id", ""))

    def cluster(self) -> Stored[Cluster]:
        """Return the cluster in the path."""
        return self.service.cluster(self.path_params["database_cluster_uuid"])

    async def confirm_path(self) -> bool:
        """Refresh the resource in the path from etcd; return whether the cache was out of date."""
        store, named = self.service.store, self.path_params
        if (id := _uuid(named.get("database_cluster_uuid", ""))) is not None:
            return await store.confirm_cluster(id)
        if "host_id" in named:
            return await store.confirm_hosts()
        if named.keys() & {"project_id", "vpc_id", "tag_name"}:
            return await store.groups.confirm(clusters="tag_name" in named)
        return False

    def require_idle(self, cluster: Cluster) -> None:
        """Raise Busy while an earlier change to a cluster is in progress.

        A change that fails may be superseded by another.
        """
        seen = self.service.report(cluster)
        status = topology.status(cluster, seen)
        if status is not ClusterStatus.ONLINE and not (seen is not None and seen.reached and seen.failing):
            raise Busy(f"update cluster cannot be performed. Reason: cluster is {status}")

    def note(self, type: EventType | None = None) -> Note:
        """Return the audit data of this request, to be written together with a change."""
        client = self.scope.get("client")
        return Note(
            what=request_line(self.method, self.scope["path"]),
            request_id=self.request_id,
            address=client[0] if client is not None else "",
            token_id=self.caller.token.id,
            token_name=self.caller.token.name,
            type=type,
        )

    async def change_cluster(
        self,
        change: Callable[[Cluster], Cluster],
        type: EventType = EventType.CLUSTER_UPDATE,
        *,
        access: Collection[PartName] = (),
    ) -> Changed:
        """Change the cluster in the path, and wait for the agent to carry it out, at most ``wait_seconds``.

        A change that takes access away must be in force, else NotInForce is raised.  ``access`` are the parts
        of an operation that may be one: when it is repeated, it waits for what was changed before.
        """
        first = self.cluster()
        replaced = first.value

        def noting(current: Cluster) -> Cluster:
            nonlocal replaced
            replaced = current
            return change(current)

        stored = await self.service.store.update_cluster(first.value.id, noting, self.note(type))
        status = self.service.report(stored.value)
        required = in_force.was_tried(status) and (
            in_force.closes(replaced, stored.value)
            or (bool(access) and not in_force.progress(status, first.revision, access).in_force)
        )
        parts = in_force.concerned(replaced, stored.value) | set(access)
        reason = await self.service.wait_until_in_force(stored, parts, required=required)
        return Changed(stored.value, pending=PendingView(reason) if reason else UNSET)

    async def remove_from_cluster(
        self,
        kind: RemovalKind,
        name: str,
        remove: Callable[[Cluster, str, NodeStatus | None], Cluster],
    ) -> None:
        """Remove a user or database from the cluster in the path, and wait until it is dropped.

        A call that is repeated meanwhile waits for the same drop, and until a user that was dropped is locked
        out of the pools.  NotInForce when it takes too long.
        """
        await self.service.look_for(self.cluster().value, kind, name)
        await self._take_over(kind, name)
        first = self.cluster()

        def change(current: Cluster) -> Cluster:
            seen = self.service.report(current)
            if removals.is_pending(current, kind, name, seen) or (
                kind is RemovalKind.USER
                and current.user(name) is None
                and current.removal(kind, name) is not None
                and not in_force.progress(seen, first.revision, in_force.LOCKED_OUT).in_force
            ):
                return current
            return remove(current, name, seen)

        note = self.note(EventType.CLUSTER_UPDATE)
        stored = await self.service.store.update_cluster(first.value.id, change, note)
        required = in_force.was_tried(self.service.report(stored.value))
        await self.service.wait_until_removed(stored, kind, name, required=required)

    async def _take_over(self, kind: RemovalKind, name: str) -> None:
        """Have what SQL made under this name in the record and in the ledger: nothing else is dropped."""
        before = self.cluster().value
        taken = sql_changes.with_listed(before, kind, name, self.service.by_sql(before))
        if taken is before:
            return
        note = self.note(EventType.CLUSTER_UPDATE)
        stored = await self.service.store.update_cluster(
            before.id,
            lambda current: sql_changes.with_listed(current, kind, name, self.service.by_sql(current)),
            note,
        )
        parts = in_force.concerned(before, stored.value)
        if reason := await self.service.wait_until_in_force(stored, parts, required=True):
            raise NotInForce(reason)

    async def wait_for_name(self, kind: RemovalKind, name: str) -> None:
        """Wait, as long as a change waits, until a former user or database of this name is dropped."""
        await self.service.wait_until_removed(self.cluster(), kind, name, required=False)

    async def decoded(self, kind: type[T]) -> T:
        """Return the decoded body; Malformed if it is not JSON, Invalid if it does not match ``kind``."""
        try:
            body = await self.limited_body(self.service.settings.max_body_bytes)
        except ClientDisconnect:
            raise Malformed("The request body has ended too early.") from None
        if not body.strip():
            raise Malformed("The request needs a JSON body.")
        try:
            decoded: T = _decoder(kind).decode(body)  # type: ignore[arg-type]
        except msgspec.ValidationError as error:
            raise Invalid(_in_ascii(str(error)[:400])) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Malformed("The request body is not valid JSON.") from None
        return decoded


def _in_ascii(text: str) -> str:
    """Escape control and non-ASCII characters: the text may quote a client and end up on a terminal."""
    return "".join(char if " " <= char <= "~" else ascii(char)[1:-1] for char in text)


def request_line(method: str, path: str) -> str:
    """Return method and path, as recorded in events."""
    return f"{method} {path}"[:_MAX_REQUEST_LINE]


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@functools.lru_cache(maxsize=16_384)
def _uuid(text: str) -> UUID | None:
    try:
        id = UUID(text)
    except ValueError:
        return None
    return id if str(id) == text.lower() else None  # UUID() also takes braces and "urn:uuid:"


# -- Declaring operations


class Body(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The base of request bodies: unknown fields are errors, as they are often misspelt."""


@dataclass(frozen=True, slots=True)
class Operation:
    """The declaration of an operation, which the OpenAPI document is generated from."""

    method: HTTPMethod
    scope: str | None
    status: int
    summary: str
    body: Any = None
    answer: Any = None
    paged: bool = False
    query: tuple[str, ...] = ()
    also: tuple[int, ...] = ()  # status codes of errors beyond those common to such operations
    and_scope: str | None = None
    streams: bool = False  # ``answer`` is the data of each server-sent event

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that a token needs, all of them; empty for public operations and for ``ANY``."""
        return tuple(scope for scope in (self.scope, self.and_scope) if scope)


@dataclass(frozen=True, slots=True)
class OperationRoute(Route[Call]):
    operation: Operation


Answering = Callable[[Call], Awaitable[Response]]


def operation(
    method: HTTPMethod,
    path: str,
    *,
    scope: str | None,
    and_scope: str | None = None,
    status: int = 200,
    body: Any = None,
    answer: Any = None,
    paged: bool = False,
    query: tuple[str, ...] = (),
    also: tuple[int, ...] = (),
    streams: bool = False,
) -> Callable[[Answering], OperationRoute]:
    """Declare a coroutine as an operation; its docstring is the summary and description.

    ``scope`` is required to call it, and ``and_scope``, too, if given.  An operation with scope None is
    public, one with ``ANY`` needs a valid token.
    """

    def declare(answering: Answering) -> OperationRoute:
        summary = (answering.__doc__ or "").strip()

        async def handle(request: Call) -> Response:
            for needed in scopes:
                request.caller.require(needed)
            try:
                return await answering(request)
            except NotFound:
                if not await request.confirm_path():
                    raise
            return await answering(request)

        handle.__name__ = handle.__qualname__ = getattr(answering, "__name__", "handle")
        declared = Operation(
            method, scope, status, summary, body, answer, paged, query, also, and_scope, streams
        )
        scopes = declared.scopes
        return OperationRoute(method, path, handle, declared)

    return declare


def answer(view: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(view), status)


def accepted() -> Response:
    return Response(status_code=202)


def no_content() -> Response:
    return Response(status_code=204)
