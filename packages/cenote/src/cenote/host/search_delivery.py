"""An OpenSearch or Elasticsearch that takes logs."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import httpcore
import msgspec

from cenote.host.delivery import DeliveryError, context
from cenote.host.outbound import CONNECT_SECONDS, OutboundPolicy, Unreachable, reason_of
from cenote.logs import bulk
from cenote.logs.messages import Message
from cenote.logs.sinks import SearchConfig

MOST_AT_ONCE = 2_000  # messages of one call; of each the answer has some 200 bytes, and an error more
LARGEST_ANSWER = 4 * 2**20  # bytes


class SearchDestination:
    """OpenSearch or Elasticsearch: what its answer says is there, is there."""

    held = 0.0
    broken = ""

    def __init__(
        self, guard: OutboundPolicy, config: SearchConfig, cluster_id: UUID, cluster_name: str
    ) -> None:
        self._config, self._cluster_id, self._cluster_name = config, cluster_id, cluster_name
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context(config),
            max_connections=1,
            keepalive_expiry=30,
            network_backend=_Network(guard),
        )

    async def deliver(self, messages: Sequence[Message]) -> tuple[int, str]:
        if len(messages) > MOST_AT_ONCE:
            return await self._halved(messages)
        config, who = self._config, self._who
        body = bulk.body(
            messages,
            prefix=config.index_prefix,
            cluster_id=self._cluster_id,
            cluster_name=self._cluster_name,
        )
        status, answer = await self._call("POST", "/_bulk", body, "application/x-ndjson")
        if status == 413:
            return await self._halved(messages)
        if status != 200:
            raise DeliveryError(self._words(status))
        try:
            found = bulk.outcome(messages, answer)
        except ValueError as error:
            raise DeliveryError(f"{who}: {error}") from None
        if found.again:
            # Those that it has taken are there when all are sent again, and are not there twice.
            raise DeliveryError(f"{who} does not take {len(found.again)} messages for now: {found.reason}")
        return len(found.refused), found.reason

    async def _halved(self, messages: Sequence[Message]) -> tuple[int, str]:
        """Send in two parts what was too much at once; one message that is too much will never be taken."""
        if len(messages) == 1:
            return 1, "a message is too large for it (status 413)"
        middle = len(messages) // 2
        first, why = await self.deliver(messages[:middle])
        second, also = await self.deliver(messages[middle:])
        return first + second, why or also

    async def tidy(self, today: date) -> None:
        config = self._config
        status, answer = await self._call("GET", f"/_cat/indices/{config.index_prefix}-*?format=json&h=index")
        if status == 404:
            return
        if status != 200:
            raise DeliveryError(self._words(status))
        try:
            names = [str(one["index"]) for one in msgspec.json.decode(answer)]
        except (msgspec.DecodeError, KeyError, TypeError):
            raise DeliveryError(f"{self._who} does not tell which there are") from None
        for name in bulk.expired(names, config.index_prefix, config.index_days_max, today):
            status, _ = await self._call("DELETE", f"/{name}")
            if status not in (200, 404):
                raise DeliveryError(f"{name}: {self._words(status)}")

    @property
    def _who(self) -> str:
        return f"{self._config.host} port {self._config.port}"

    async def close(self) -> None:
        await self._pool.aclose()

    async def _call(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json"
    ) -> tuple[int, bytes]:
        config = self._config
        place = f"[{config.host}]" if ":" in config.host else config.host
        headers = [("host", f"{place}:{config.port}"), ("content-type", kind), ("accept", "application/json")]
        if config.login is not None:
            name, password = config.login
            login = base64.b64encode(f"{name}:{password.reveal()}".encode()).decode()
            headers.append(("authorization", f"Basic {login}"))
        limits = dict.fromkeys(("connect", "read", "write", "pool"), config.timeout)
        url = f"{config.parts.scheme}://{place}:{config.port}{config.path}{path}"
        try:
            # A peer that sends a byte now and then must not hold us for longer than it may.
            async with (
                asyncio.timeout(config.timeout + CONNECT_SECONDS),
                self._pool.stream(
                    method, url, headers=headers, content=body, extensions={"timeout": limits}
                ) as answer,
            ):
                content = bytearray()
                async for piece in answer.aiter_stream():
                    content += piece
                    if len(content) > LARGEST_ANSWER:
                        raise DeliveryError(f"{self._who} answers without end")
                return answer.status, bytes(content)
        except (httpcore.TimeoutException, TimeoutError):
            raise Unreachable(f"{self._who} does not answer in time") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
            why = reason_of(_root(error))
            raise Unreachable(f"cannot speak to {self._who}: {why}") from None

    def _words(self, status: int) -> str:
        who = self._who
        match status:
            case 401 | 403:
                return f"{who} does not let us in (status {status}); look at the user and password in 'url'"
            case 429:
                return f"{who} has too much to do (status 429)"
            case _ if 300 <= status < 400:
                return f"{who} sends us elsewhere (status {status}); name that place in 'url' if it is right"
            case _ if status >= 500:
                return f"{who} has a defect, or is starting (status {status})"
            case _:
                return f"{who} does not take logs at this URL (status {status})"


class _Network(httpcore.AsyncNetworkBackend):
    """Connections for httpcore, to addresses that the guard has let pass."""

    def __init__(self, guard: OutboundPolicy) -> None:
        self._guard = guard
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's word
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        error: Exception | None = None
        for _, (address, _) in await self._guard.places(host, port):
            try:
                return await self._network.connect_tcp(address, port, timeout)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
        raise error or httpcore.ConnectError("no address")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _root(error: BaseException) -> BaseException:
    """Return what an error of httpcore comes from; that of the connection says more than what came of it."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error
