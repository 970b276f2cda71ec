"""What every operation is given: the store, the seal, the settings, and who is calling."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPMethod
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from cenote import rules
from cenote.api.auth import Caller, UnknownTokens
from cenote.errors import Busy, Invalid, Malformed, NotFound, Unauthenticated
from cenote.http.routing import ClientDisconnect, Receive, Request, Response, Route, Scope, Send
from cenote.logs.destinations import Network
from cenote.model.records import Cluster, ClusterStatus, EventType, Note
from cenote.model.timing import DEFAULT, Timing
from cenote.security.basic_auth import BasicAuth
from cenote.security.sealing import Sealer
from cenote.stats.advice import Advice
from cenote.stats.counters import Requests
from cenote.stats.observer import Observer, PoolNumbers
from cenote.stats.sampler import Sampler
from cenote.store import Store, Stored

T = TypeVar("T")

ANY = ""  # the scope of what every good token may do
_LONGEST_REQUEST = 300  # characters of it that an event keeps


@dataclass(frozen=True, slots=True)
class Settings:
    """How the API is set up; a limit of 0 is no limit."""

    public_host: str = "localhost"
    domain: str | None = None  # with one, a cluster's host is <name>.<domain>
    requests_per_hour: int = 5_000
    requests_per_minute: int = 250
    wait_seconds: float = 5.0  # how long a change waits for the agent before it is answered anyway
    max_body_bytes: int = 1024 * 1024
    log_sink_allow: tuple[Network, ...] = ()  # addresses that logs may be sent to besides

    def host_of(self, cluster_name: str, *, private: bool = False) -> str:
        """Return the host name that clients of a cluster connect to."""
        if self.domain is None:
            return self.public_host
        return f"{'private-' if private else ''}{cluster_name}.{self.domain}"


@dataclass(frozen=True, slots=True)
class Advised:
    """What was advised on a cluster as it was then; ``at`` is of the monotonic clock."""

    at: float
    cluster: Cluster
    advice: tuple[Advice, ...]


@dataclass(frozen=True, slots=True)
class Service:
    store: Store
    sealer: Sealer
    settings: Settings
    observer: Observer
    sampler: Sampler
    timing: Timing = DEFAULT
    requests: Requests = field(default_factory=Requests)
    # When poolers were asked for ``api/activity.py``, and what they said.
    recent_pool_stats: dict[UUID, tuple[float, asyncio.Task[Mapping[str, PoolNumbers] | None]]] = field(
        default_factory=dict
    )
    advised: dict[UUID, Advised] = field(default_factory=dict)
    guard: BasicAuth = field(default_factory=BasicAuth)  # of the login for metrics
    unknown_tokens: UnknownTokens = field(default_factory=UnknownTokens)
    streams: Counter[UUID] = field(default_factory=Counter)  # that are open, of each token

    def cluster(self, text: str) -> Stored[Cluster]:
        """Return the cluster with this id; whatever is no id of a living cluster is not found."""
        id = _uuid(text)
        stored = None if id is None else self.store.cluster(id)
        if stored is None or stored.value.deleted_at is not None:
            raise NotFound
        return stored

    async def confirmed_cluster(self, text: str) -> Stored[Cluster]:
        """Return the cluster with this id; etcd is asked before it is not found."""
        try:
            return self.cluster(text)
        except NotFound:
            id = _uuid(text)
            if id is None or not await self.store.confirm_cluster(id):
                raise
        return self.cluster(text)

    async def settled(self, stored: Stored[Cluster]) -> None:
        """Wait until the agent has carried this revision out, the cluster is gone, or time is up."""
        id, node = stored.value.id, stored.value.primary.name

        def done() -> bool | None:
            status = self.store.status(id, node)
            if status is not None and status.reached >= stored.revision:
                return True
            now = self.store.cluster(id)
            return True if now is None or now.value.deleted_at is not None else None

        await self.store.wait(done, self.settings.wait_seconds)


class Call(Request):
    """One request, as the operations see it."""

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
        """Return the cluster that the path names."""
        return self.service.cluster(self.path_params["database_cluster_uuid"])

    async def confirm_path(self) -> bool:
        """Ask etcd for what the path names; return whether the cache had something else of it."""
        store, named = self.service.store, self.path_params
        if (id := _uuid(named.get("database_cluster_uuid", ""))) is not None:
            return await store.confirm_cluster(id)
        if named.keys() & {"project_id", "vpc_id", "tag_name"}:
            return await store.groups.confirm(clusters="tag_name" in named)
        return False

    def require_idle(self, cluster: Cluster) -> None:
        """Raise Busy while a cluster is on its way to what was last wanted of it.

        One that fails on its way may be sent elsewhere.
        """
        seen = self.service.store.status(cluster.id, cluster.primary.name)
        status = rules.status(cluster, seen)
        if status is not ClusterStatus.ONLINE and not (seen is not None and seen.reached and seen.failing):
            raise Busy(f"update cluster cannot be performed. Reason: cluster is {status}")

    def note(self, type: EventType | None = None) -> Note:
        """Return who asks for what, to be written together with a change."""
        client = self.scope.get("client")
        return Note(
            what=what_of(self.method, self.scope["path"]),
            request_id=self.request_id,
            address=client[0] if client is not None else "",
            token_id=self.caller.token.id,
            token_name=self.caller.token.name,
            type=type,
        )

    async def change_cluster(
        self, change: Callable[[Cluster], Cluster], type: EventType = EventType.CLUSTER_UPDATE
    ) -> Stored[Cluster]:
        """Change the cluster that the path names, and wait for the agent as long as a client should."""
        id = self.cluster().value.id
        stored = await self.service.store.update_cluster(id, change, self.note(type))
        await self.service.settled(stored)
        return stored

    async def decoded(self, kind: type[T]) -> T:
        """Return the body; Malformed when it is no JSON, Invalid when the JSON does not fit."""
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
    """Return a text that may quote a client with nothing in it that a terminal would obey."""
    return "".join(char if " " <= char <= "~" else ascii(char)[1:-1] for char in text)


def what_of(method: str, path: str) -> str:
    """Return what was asked for, as events keep it."""
    return f"{method} {path}"[:_LONGEST_REQUEST]


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
    """The base of request bodies: an unknown field is an error, not a slip to be passed over."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What the description at /openapi.json says of an operation, beside its path."""

    method: HTTPMethod
    scope: str | None
    status: int
    summary: str
    body: Any = None
    answer: Any = None
    paged: bool = False
    query: tuple[str, ...] = ()
    also: tuple[int, ...] = ()  # codes of refusals beside those that all of its kind have
    and_scope: str | None = None
    streams: bool = False  # ``answer`` is what each server-sent event holds

    @property
    def scopes(self) -> tuple[str, ...]:
        """All that a token must have at once; none when the operation is open, or to every good token."""
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
    """Make a route of a coroutine; its docstring is the summary, ``scope`` is demanded before it runs.

    With None for a scope it is open to everybody, with ``ANY`` to every good token; ``and_scope`` is one
    more that is demanded.
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
