"""Answers the APIs' questions about the nodes of this host, by HTTP on a unix socket and over mutual TLS.

The bodies are msgpack.  The socket is open to the API's group alone; the port of a fleet's host to those who
show a certificate of the fleet with the role ``api`` (``agent/fleet_endpoint.py``).  And yet an API may be
taken over by somebody: so a question is taken as a stranger's.  It can name a node and nothing else on this
machine, and changes nothing but, for a moment, what the check of an upgrade needs.  The API also claims ports
for new clusters, and hands over new keys of the ring ``host``, which it knows anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPMethod
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import msgspec
from uvicorn.server import ServerState

from cenote.agent.archived import ArchiveReader
from cenote.agent.host_ring import HostRing
from cenote.agent.port_holding import PortHolding
from cenote.errors import CenoteError, Invalid, Unavailable
from cenote.http.routing import (
    ASGIApp,
    HTTPException,
    Receive,
    Request,
    Response,
    Route,
    Scope,
    Send,
    router,
)
from cenote.http.server import protocol_config
from cenote.http.streaming import StreamedResponse
from cenote.http.timeouts import TimeoutProtocol
from cenote.logs.filters import MAX_SEARCH, LogFilter
from cenote.logs.messages import Severity
from cenote.metrics import service_metrics
from cenote.metrics.exposition import CONTENT_TYPE
from cenote.model.records import LogSource
from cenote.stats.history import DAY_MINUTES
from cenote.stats.observer import MigrationQuestion, Observer, Refusal, Samples
from cenote.stats.remote_observer import LENGTH_BYTES, MIGRATION_SECONDS

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0  # the askers give up before
ARCHIVE_SECONDS = 30.0  # the same for a question to a repository
MAX_CONNECTIONS = 2048
MAX_NAME, MAX_CURSOR = 128, 64  # characters
MOST_VERSION = 999  # a major one of PostgreSQL
MAX_MESSAGES = 1_000
MAX_KEYS_BYTES = 4096
MAX_PORTS = 16  # of a claim
MAX_PORTS_BYTES = 256
MAX_SOURCE_BYTES = 256 * 1024
MEDIA_TYPE = "application/msgpack"
Ports = Annotated[list[Annotated[int, msgspec.Meta(ge=1, le=65535)]], msgspec.Meta(max_length=MAX_PORTS)]
_STREAM_HEADERS = [(b"content-type", MEDIA_TYPE.encode())]
_encode = msgspec.msgpack.encode


@dataclass(frozen=True, slots=True)
class Answering:
    """What an agent answers with."""

    observer: Observer
    ring: HostRing | None = None
    ports: PortHolding | None = None
    host_name: str = ""
    archives: ArchiveReader | None = None


class Question(Request):
    """A request to an agent; what it names is checked when it is read."""

    def __init__(self, answering: Answering, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.observer, self._answering = answering.observer, answering
        self.host_name = answering.host_name

    @property
    def ring(self) -> HostRing:
        """The agent's key ring."""
        if self._answering.ring is None:
            raise Unavailable("This agent has no key ring.")
        return self._answering.ring

    @property
    def ports(self) -> PortHolding:
        """The claims on ports of this host."""
        if self._answering.ports is None:
            raise Unavailable("This agent claims no ports.")
        return self._answering.ports

    @property
    def archives(self) -> ArchiveReader:
        """What the repository of this host has."""
        if self._answering.archives is None:
            raise Unavailable("This agent reads no repository.")
        return self._answering.archives

    @property
    def cluster_id(self) -> UUID:
        """The id of the cluster in the path."""
        try:
            return UUID(self.path_params["cluster"])
        except ValueError:
            raise Invalid("The id of the cluster is malformed.") from None

    @property
    def node(self) -> tuple[UUID, str]:
        """The id of the cluster and the name of the node in the path."""
        cluster_id, name = self.cluster_id, self.path_params["node"]
        if len(name) > MAX_NAME or not name.isprintable():
            raise Invalid("The name of the node is malformed.")
        return cluster_id, name

    def text(self, name: str, most: int) -> str:
        found = self.query_params.get(name, "")
        if len(found) > most:
            raise Invalid(f"{name} is too long.")
        return found

    def number(self, name: str, most: int) -> int:
        text = self.text(name, 9)
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
            raise Invalid(f"{name} is not a number from 1 to {most}.")
        return int(text)


async def pools(question: Question) -> Any:
    return await question.observer.pools(*question.node)


async def outdated_connections(question: Question) -> Any:
    return await question.observer.outdated_connections(*question.node)


async def look_again(question: Question) -> None:
    await question.observer.look_again(*question.node)


async def upgrade_problems(question: Question) -> Any:
    version = str(question.number("version", MOST_VERSION))
    return await question.observer.upgrade_problems(*question.node, version)


async def migration_check(question: Question) -> Any:
    body = await question.limited_body(MAX_SOURCE_BYTES)
    try:
        asked = msgspec.msgpack.decode(body, type=MigrationQuestion)
    except msgspec.DecodeError:
        raise Invalid("This is no source of a migration.") from None
    return await question.observer.migration_check(*question.node, asked)


async def server(question: Question) -> Any:
    return await question.observer.server(*question.node)


async def sinks(question: Question) -> Any:
    return await question.observer.sinks(*question.node)


async def logs(question: Question) -> Any:
    try:
        source = LogSource(question.text("source", 20))
    except ValueError:
        raise Invalid("source is not the name of a log.") from None
    count, cursor = question.number("count", MAX_MESSAGES), question.text("cursor", MAX_CURSOR)
    try:
        # An API of an older version asks for no severity.
        severity = Severity(question.text("severity", 20) or Severity.DEBUG)
    except ValueError:
        raise Invalid("severity is not that of a message.") from None
    wanted = LogFilter(question.text("search", MAX_SEARCH), severity)
    return await question.observer.logs(*question.node, source, count, cursor, wanted)


async def history(question: Question) -> Any:
    return await question.observer.history(*question.node, question.number("minutes", DAY_MINUTES))


async def is_own(question: Question) -> Any:
    try:
        address = ip_address(question.text("address", 64))
    except ValueError:
        raise Invalid("address is not an IP address.") from None
    return await question.observer.is_own(*question.node, address)


async def archived(question: Question) -> Any:
    return await question.archives.of(question.cluster_id)


async def agent(question: Question) -> Any:
    return await question.observer.agent()


async def alive(question: Question) -> None:
    """Tell an agent that is slow to answer another question from one that hangs."""


async def metrics(question: Question) -> Response:
    """The agent's own metrics, as text for Prometheus."""
    page = service_metrics.agent_page(question.host_name, await question.observer.agent())
    return Response(await asyncio.to_thread(page.render), media_type=CONTENT_TYPE)


async def claim(question: Question) -> Any:
    body = await question.limited_body(MAX_PORTS_BYTES)
    try:
        ports = msgspec.msgpack.decode(body, type=Ports)
    except msgspec.DecodeError:
        raise Invalid("These are no ports.") from None
    return await question.ports.claim(question.cluster_id, ports)


async def release(question: Question) -> None:
    question.ports.release(question.cluster_id)


async def add(question: Question) -> None:
    await question.ring.add((await question.limited_body(MAX_KEYS_BYTES)).decode("ascii", "replace"))


async def keep(question: Question) -> None:
    body = await question.limited_body(MAX_KEYS_BYTES)
    try:
        ids = msgspec.msgpack.decode(body, type=set[str])
    except msgspec.DecodeError:
        raise Invalid("These are no ids of keys.") from None
    await question.ring.keep(ids)


async def samples(question: Question) -> Response:
    try:
        after = float(question.text("after", 40))
    except ValueError:
        after = math.nan
    if not math.isfinite(after):
        raise Invalid("after is not a time.")
    following = question.observer.samples(*question.node, after)
    try:
        first = await anext(following, None)  # before the answer begins, which may be a refusal
    except BaseException:
        await following.aclose()
        raise
    return StreamedResponse(partial(_parts, first, following), _STREAM_HEADERS)


async def _parts(first: Samples | None, rest: AsyncGenerator[Samples, None]) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(rest):
        if first is not None:
            yield _part(first)
        async for found in rest:
            yield _part(found)


def _part(found: Samples) -> bytes:
    body = _encode(found)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def _route(
    path: str,
    ask: Callable[[Question], Awaitable[Any]],
    method: HTTPMethod = HTTPMethod.GET,
    seconds: float | None = None,  # None: as most
) -> Route[Question]:
    async def handle(question: Question) -> Response:
        async with asyncio.timeout(ANSWER_SECONDS if seconds is None else seconds):
            found = await ask(question)
        return found if isinstance(found, Response) else Response(_encode(found), media_type=MEDIA_TYPE)

    return Route(method, path, handle)


_NODE = "/nodes/{cluster}/{node}/"
ROUTES = (
    *(
        _route(_NODE + ask.__name__, ask)
        for ask in (
            *(pools, outdated_connections, look_again, upgrade_problems, server),
            *(sinks, logs, history, is_own, samples),
        )
    ),
    _route(_NODE + "migration_check", migration_check, HTTPMethod.POST, MIGRATION_SECONDS),
    _route("/archives/{cluster}", archived, seconds=ARCHIVE_SECONDS),
    _route("/agent", agent),
    _route("/alive", alive),
    _route("/metrics", metrics),
    _route("/ports/{cluster}/claim", claim, HTTPMethod.POST),
    _route("/ports/{cluster}/release", release, HTTPMethod.POST),
    _route("/host_keys/add", add, HTTPMethod.POST),
    _route("/host_keys/keep", keep, HTTPMethod.POST),
)


def _refused(question: Question, error: Exception) -> Response:
    """Return an error in words, and nothing of a defect but that there is one."""
    status, message = 500, "This cluster's host cannot answer because of a defect; see the agent's log."
    match error:
        case Invalid():
            status, message = 422, error.message
        case CenoteError():
            status, message = 503, error.message
        case TimeoutError():
            status, message = 503, "This cluster's host did not answer in time."
        case HTTPException():
            status, message = error.status_code, "This cluster's host does not know this question."
        case OSError():  # no file descriptor is left, or a log cannot be read
            log.warning("%s cannot be answered: %s", question.scope["path"], error)
            status, message = 503, f"This cluster's host cannot answer: {error.strerror}."
        case _:
            log.error("%s: a defect in Cenote", question.scope["path"], exc_info=error)
    return refusal(message, status)


def application(answering: Answering) -> ASGIApp:
    """Return what answers questions, whoever has been admitted to ask them."""
    return router(ROUTES, partial(Question, answering), _refused)


def refusal(message: str, status: int) -> Response:
    return Response(_encode(Refusal(message)), status, media_type=MEDIA_TYPE)


class ObserverEndpoint:
    """Serves an observer on a unix socket."""

    def __init__(self, answering: Answering, path: Path, group: int | None = None) -> None:
        """``group`` is the group of those who may ask, None for this account alone."""
        self._path, self._group = path, group
        self._state = ServerState()
        self._config = protocol_config(application(answering), limit_concurrency=MAX_CONNECTIONS)

    async def run(self) -> None:
        """Serve until cancelled; the questions that are open then are broken off."""
        listener = listen(self._path, self._group)
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: TimeoutProtocol(self._config, self._state, {}), sock=listener
        )
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            await break_off(self._state)


async def break_off(state: ServerState) -> None:
    """Close all connections, whatever is asked on them."""
    for connection in list(state.connections):
        connection.transport.abort()
    tasks = list(state.tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def listen(path: Path, group: int | None) -> socket.socket:
    """Return a listening socket in a folder for this account and a group; it replaces an old one."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(fresh))
        if group is not None:
            os.chown(path.parent, -1, group)
            os.chown(fresh, -1, group)
        os.chmod(path.parent, 0o750)  # noqa: S103 - for the API's group
        os.chmod(fresh, 0o660)
        listener.listen(MAX_CONNECTIONS)
        listener.setblocking(False)
        # At no moment is there no socket, and none that refuses: a killed predecessor's is simply replaced.
        fresh.rename(path)
    except OSError as error:
        listener.close()
        raise Unavailable(f"cannot listen on {path}: {error.strerror}") from None
    return listener
