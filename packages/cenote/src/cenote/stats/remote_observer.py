"""The ``Observer`` for nodes of an agent in another process, asked by HTTP (``agent/observer_endpoint.py``).

An agent of this host is asked on its unix socket, one of another host over mutual TLS.  Each question has a
deadline, and a connection of its own while it is asked, so an agent that hangs delays nothing but its own
answers.  One that gives no sign of life is given up after three seconds, also for a question that may take
longer.  An agent that is being restarted is waited for briefly.  After that, and for whatever else goes
wrong, the answer is Unavailable, and names the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

import httpcore
import msgspec

from cenote.errors import Unavailable
from cenote.logs.destinations import Address
from cenote.logs.filters import ALL, LogFilter
from cenote.logs.sinks import SinkStatus
from cenote.model.backups import Archived
from cenote.model.records import LogSource
from cenote.stats.observer import (
    AgentNumbers,
    HistoryTables,
    LogPage,
    MigrationCheck,
    MigrationQuestion,
    PoolNumbers,
    Refusal,
    Samples,
    ServerNumbers,
    UpgradeProblems,
)

T = TypeVar("T")

log = logging.getLogger(__name__)

QUESTION_SECONDS = 2.8  # so that the API has answered within three
PULSE_SECONDS = 1.0  # after which an agent is asked whether it lives, while a longer question is open
CONNECT_SECONDS = 2.5  # to another host, with the TLS handshake
UPGRADE_SECONDS = 10.0  # of which the agent takes eight
MIGRATION_SECONDS = 25.0  # of which the agent takes twenty: the source may be far
SERVER_SECONDS = 6.0  # a server with many databases takes a while
LOGS_SECONDS = 10.0
ARCHIVE_SECONDS = 25.0  # a repository may be far away
SILENT_SECONDS = 10.0  # after which a stream is given up; it is never silent for so long
RESTART_SECONDS = 1.0  # for an agent that is being restarted
RETRY_SECONDS = 0.05
KEEP_SECONDS = 4.0  # an idle connection; the other end closes it after 5
MAX_QUESTIONS, MAX_STREAMS = 128, 1024  # at once; further ones wait, within their deadline
MAX_ANSWER_BYTES = 64 * 1024 * 1024
LENGTH_BYTES = 4  # of the length before each part of a stream, big-endian

SOME_HOST = "This cluster's host"
NO_ANSWER = f"{SOME_HOST} does not answer. Try again later."
NOT_UNDERSTOOD = f"The answer of {SOME_HOST[0].lower()}{SOME_HOST[1:]} was not understood."
_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError)


class _NoAnswer(Exception):
    """The agent is away, or what came is no answer."""


class _NotUnderstood(Exception):
    """What the agent has answered is not what it was asked."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The agent of another host: where it is, the name in its certificate, and what we show to it."""

    address: str
    port: int
    name: str
    context: ssl.SSLContext


class RemoteObserver:
    """Asks the agent that listens on the unix socket at a path, or that of another host."""

    def __init__(self, place: Path | Peer, host_name: Callable[[], str] = lambda: "") -> None:
        """``host_name`` is what errors call the host, "" if it has no name yet."""
        self._host_name = host_name
        self._questions = _connections(place, MAX_QUESTIONS)
        self._streams = _connections(place, MAX_STREAMS)
        self._waits: set[asyncio.Timeout] = set()  # of streams
        self._ending = False

    def end_streams(self) -> None:
        """End all streams: this process shuts down."""
        self._ending = True
        for wait in self._waits:
            wait.reschedule(0)

    async def close(self) -> None:
        """Close every connection."""
        self.end_streams()
        await self._questions.aclose()
        await self._streams.aclose()
        await asyncio.sleep(0)  # asyncio closes the sockets in its next turn

    async def pools(self, cluster_id: UUID, node: str) -> Mapping[str, PoolNumbers]:
        return await self._ask(dict[str, PoolNumbers], _path(cluster_id, node, "pools"))

    async def outdated_connections(self, cluster_id: UUID, node: str) -> Mapping[str, int]:
        return await self._ask(dict[str, int], _path(cluster_id, node, "outdated_connections"))

    async def look_again(self, cluster_id: UUID, node: str) -> None:
        await self._ask(None, _path(cluster_id, node, "look_again"), SERVER_SECONDS)

    async def upgrade_problems(self, cluster_id: UUID, node: str, version: str) -> UpgradeProblems:
        path = _path(cluster_id, node, "upgrade_problems", version=version)
        return await self._ask(UpgradeProblems, path, UPGRADE_SECONDS)

    async def migration_check(
        self, cluster_id: UUID, node: str, question: MigrationQuestion
    ) -> MigrationCheck:
        path, content = _path(cluster_id, node, "migration_check"), msgspec.msgpack.encode(question)
        return await self._ask(MigrationCheck, path, MIGRATION_SECONDS, content=content)

    async def server(self, cluster_id: UUID, node: str) -> ServerNumbers:
        return await self._ask(ServerNumbers, _path(cluster_id, node, "server"), SERVER_SECONDS)

    async def logs(
        self, cluster_id: UUID, node: str, source: LogSource, count: int, cursor: str, wanted: LogFilter = ALL
    ) -> LogPage:
        query = {"source": source, "count": count, "cursor": cursor}
        path = _path(cluster_id, node, "logs", **query, search=wanted.search, severity=str(wanted.severity))
        return await self._ask(LogPage, path, LOGS_SECONDS)

    async def sinks(self, cluster_id: UUID, node: str) -> Mapping[UUID, SinkStatus]:
        return await self._ask(dict[UUID, SinkStatus], _path(cluster_id, node, "sinks"))

    async def history(self, cluster_id: UUID, node: str, minutes: int) -> HistoryTables:
        return await self._ask(HistoryTables, _path(cluster_id, node, "history", minutes=minutes))

    async def is_own(self, cluster_id: UUID, node: str, address: Address) -> bool:
        return await self._ask(bool, _path(cluster_id, node, "is_own", address=address))

    async def agent(self, host_id: str = "") -> AgentNumbers:
        return await self._ask(AgentNumbers, "/agent")

    async def archived(self, cluster_id: UUID) -> Archived:
        """Return what the host's repository has of a cluster."""
        return await self._ask(Archived, f"/archives/{cluster_id}", ARCHIVE_SECONDS)

    async def claim_ports(self, cluster_id: UUID, ports: Iterable[int]) -> frozenset[int]:
        """Have the host claim ports for a cluster, all or none; return those that are taken there."""
        return await self._ask(
            frozenset[int], f"/ports/{cluster_id}/claim", content=msgspec.msgpack.encode(sorted(ports))
        )

    async def release_ports(self, cluster_id: UUID) -> None:
        await self._ask(None, f"/ports/{cluster_id}/release", content=b"")

    async def add_host_key(self, line: str) -> None:
        await self._ask(None, "/host_keys/add", content=line.encode())

    async def keep_host_keys(self, ids: Collection[str]) -> None:
        await self._ask(None, "/host_keys/keep", content=msgspec.msgpack.encode(sorted(ids)))

    async def samples(self, cluster_id: UUID, node: str, after: float) -> AsyncGenerator[Samples, None]:
        parts = self._parts(_path(cluster_id, node, "samples", after=after))
        async with contextlib.aclosing(parts):
            seconds = QUESTION_SECONDS
            while not self._ending:
                part = await self._next(parts, min(seconds, SILENT_SECONDS))
                if part is None:
                    return
                with self._in_words():
                    found = _decoded(Samples, part)
                yield found
                seconds = SILENT_SECONDS

    async def _ask(
        self, kind: type[T] | None, path: str, seconds: float = QUESTION_SECONDS, content: bytes | None = None
    ) -> T:
        asking = asyncio.create_task(self._answer(kind, path, content))
        asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            with self._in_words():
                async with asyncio.timeout(seconds):
                    if seconds > QUESTION_SECONDS:
                        await self._feel_pulse(asking)
                    return await asking
        finally:
            asking.cancel()

    async def _answer(self, kind: type[T] | None, path: str, content: bytes | None) -> T:
        response = await _open(self._questions, path, content)
        try:
            return _decoded(kind, await _body(response))
        finally:
            await response.aclose()

    async def _feel_pulse(self, asking: asyncio.Task[T]) -> None:
        """Raise TimeoutError if the agent, which is silent, does not answer another question either."""
        done, _ = await asyncio.wait({asking}, timeout=PULSE_SECONDS)
        if not done:
            async with asyncio.timeout(QUESTION_SECONDS - PULSE_SECONDS):
                response = await _open(self._questions, "/alive")
                await response.aclose()

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        """Raise Unavailable with the host's name for whatever an agent does that is no answer."""
        host = self._host_name()
        named = f"The host {host}" if host.isprintable() and host else SOME_HOST
        try:
            yield
        except _NotUnderstood:
            raise Unavailable(f"The answer of {named[0].lower()}{named[1:]} was not understood.") from None
        except (TimeoutError, _NoAnswer, *_BROKEN):
            raise Unavailable(f"{named} does not answer. Try again later.") from None

    async def _next(self, parts: AsyncGenerator[bytes, None], seconds: float) -> bytes | None:
        """Return the next part of a stream, None when this process shuts down."""
        try:
            with self._in_words():
                async with asyncio.timeout(seconds) as wait:
                    self._waits.add(wait)
                    try:
                        return await anext(parts)
                    except StopAsyncIteration:
                        raise _NoAnswer from None
                    finally:
                        self._waits.discard(wait)
        except Unavailable:
            if self._ending:
                return None
            raise

    async def _parts(self, path: str) -> AsyncGenerator[bytes, None]:
        response = await _open(self._streams, path)
        try:
            if response.status != 200:
                _decoded(Samples, await _body(response))
            received = bytearray()
            async for chunk in response.aiter_stream():
                received += chunk
                while len(received) >= LENGTH_BYTES:
                    length = LENGTH_BYTES + int.from_bytes(received[:LENGTH_BYTES], "big")
                    if length > MAX_ANSWER_BYTES:
                        raise _NotUnderstood
                    if len(received) < length:
                        break
                    yield bytes(received[LENGTH_BYTES:length])
                    del received[:length]
        finally:
            await response.aclose()


def _connections(place: Path | Peer, most: int) -> httpcore.AsyncConnectionPool:
    return httpcore.AsyncConnectionPool(
        uds=str(place) if isinstance(place, Path) else None,
        max_connections=most,
        max_keepalive_connections=8,
        keepalive_expiry=KEEP_SECONDS,
        network_backend=_UnixBackend() if isinstance(place, Path) else _PeerBackend(place),
    )


class _Backend(httpcore.AsyncNetworkBackend):
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _UnixBackend(_Backend):
    """Connects to unix sockets.

    httpcore's own spins while the peer's queue of connections is full, as that of one that hangs will be.
    """

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface, as below
        socket_options: object = None,
    ) -> httpcore.AsyncNetworkStream:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.setblocking(False)
            connection.connect(path)  # it succeeds or fails at once
            return _Stream(*await asyncio.open_unix_connection(sock=connection))
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError):
                raise httpcore.ConnectError(str(error)) from None
            raise


class _PeerBackend(_Backend):
    """Connects to another host's agent; TLS belongs to the connection, so that HTTP knows nothing of it."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: object = None,
    ) -> httpcore.AsyncNetworkStream:
        peer = self._peer
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                opened = await asyncio.open_connection(
                    peer.address, peer.port, ssl=peer.context, server_hostname=peer.name
                )
        except (OSError, ValueError) as error:  # TimeoutError and those of TLS among them
            log.debug("%s port %d: %s", peer.address, peer.port, error)
            raise httpcore.ConnectError(str(error)) from None
        return _Stream(*opened)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self._writer.write(buffer)
        await self._writer.drain()

    async def aclose(self) -> None:
        if self._writer.get_extra_info("ssl_object") is not None:
            self._writer.transport.abort()  # an agent that hangs would not take part in closing TLS
        else:
            self._writer.close()

    def get_extra_info(self, info: str) -> Any:
        # Of an idle connection: whether the other end has closed it.
        return self._reader.at_eof() if info == "is_readable" else None


def _path(cluster_id: UUID, node: str, question: str, **query: object) -> str:
    path = f"/nodes/{cluster_id}/{quote(node, safe='')}/{question}"
    return f"{path}?{urlencode(query)}" if query else path


async def _open(
    connections: httpcore.AsyncConnectionPool, path: str, content: bytes | None = None
) -> httpcore.Response:
    """Ask, and return the response without its body; _NoAnswer if the agent is away for too long."""
    give_up = time.monotonic() + RESTART_SECONDS
    while True:
        headers: dict[bytes | str, bytes | str] = {"host": "agent"}
        if content is not None:
            headers["content-length"] = str(len(content))
        method = "GET" if content is None else "POST"
        request = httpcore.Request(method, f"http://agent{path}", headers=headers, content=content)
        try:
            return await connections.handle_async_request(request)
        except _BROKEN:
            if time.monotonic() > give_up:
                raise _NoAnswer from None
        await asyncio.sleep(RETRY_SECONDS)


async def _body(response: httpcore.Response) -> bytes:
    """Return the answer; Unavailable with the agent's words if it is a refusal."""
    body = bytearray()
    async for chunk in response.aiter_stream():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise _NotUnderstood
    if response.status != 200:
        raise Unavailable(_decoded(Refusal, bytes(body)).message)
    return bytes(body)


def _decoded(kind: type[T] | None, body: bytes) -> T:
    try:
        found: T = _decoder(kind).decode(body)  # type: ignore[arg-type]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        log.error("the agent's answer is no %s: %s", kind, error)
        raise _NotUnderstood from None
    return found


@functools.cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)
