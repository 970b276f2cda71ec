"""Delivery of logs to OpenSearch or Elasticsearch."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import httpcore
import msgspec

from cenote.host.delivery import DeliveryError, tls_context
from cenote.host.outbound import OutboundPolicy, Unreachable, reason_of
from cenote.logs import bulk
from cenote.logs.messages import Message
from cenote.logs.place import Place
from cenote.logs.sinks import SearchConfig

MOST_AT_ONCE = 2_000  # messages per request; the answer has some 200 bytes for each, more for an error
LARGEST_ANSWER = 4 * 2**20  # bytes


class SearchDestination:
    """OpenSearch or Elasticsearch; its answer acknowledges each message."""

    confirmation_delay = 0.0
    broken = ""

    def __init__(self, policy: OutboundPolicy, config: SearchConfig, place: Place) -> None:
        self._config, self._place = config, place
        self._connect_timeout = policy.timing.connect_timeout
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls_context(config),
            max_connections=1,
            keepalive_expiry=30,
            network_backend=_PolicyBackend(policy),
        )

    async def deliver(self, messages: Sequence[Message]) -> tuple[int, str]:
        if len(messages) > MOST_AT_ONCE:
            return await self._deliver_halves(messages)
        config, peer = self._config, self._peer
        body = bulk.body(messages, prefix=config.index_prefix, place=self._place)
        status, answer = await self._call("POST", "/_bulk", body, "application/x-ndjson")
        if status == 413:
            return await self._deliver_halves(messages)
        if status != 200:
            raise DeliveryError(self._describe(status))
        try:
            found = bulk.parse_response(messages, answer)
        except ValueError as error:
            raise DeliveryError(f"{peer}: {error}") from None
        if found.retry:
            # All are sent again; ids keep the accepted ones from being stored twice.
            raise DeliveryError(f"{peer} temporarily rejects {len(found.retry)} messages: {found.reason}")
        return len(found.refused), found.reason

    async def _deliver_halves(self, messages: Sequence[Message]) -> tuple[int, str]:
        """Split a request that is too large; a single message that is too large is rejected."""
        if len(messages) == 1:
            return 1, "a message is too large (status 413)"
        middle = len(messages) // 2
        first, why = await self.deliver(messages[:middle])
        second, also = await self.deliver(messages[middle:])
        return first + second, why or also

    async def drop_expired(self, today: date) -> None:
        config = self._config
        status, answer = await self._call("GET", f"/_cat/indices/{config.index_prefix}-*?format=json&h=index")
        if status == 404:
            return
        if status != 200:
            raise DeliveryError(self._describe(status))
        try:
            names = [str(one["index"]) for one in msgspec.json.decode(answer)]
        except (msgspec.DecodeError, KeyError, TypeError):
            raise DeliveryError(f"{self._peer} did not list its indices") from None
        for name in bulk.expired_indices(names, config.index_prefix, config.retention_days, today):
            status, _ = await self._call("DELETE", f"/{name}")
            if status not in (200, 404):
                raise DeliveryError(f"{name}: {self._describe(status)}")

    @property
    def _peer(self) -> str:
        return f"{self._config.host} port {self._config.port}"

    async def close(self) -> None:
        await self._pool.aclose()

    async def _call(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json"
    ) -> tuple[int, bytes]:
        config = self._config
        host = f"[{config.host}]" if ":" in config.host else config.host
        headers = [("host", f"{host}:{config.port}"), ("content-type", kind), ("accept", "application/json")]
        if config.login is not None:
            name, password = config.login
            login = base64.b64encode(f"{name}:{password.reveal()}".encode()).decode()
            headers.append(("authorization", f"Basic {login}"))
        limits = dict.fromkeys(("connect", "read", "write", "pool"), config.timeout_seconds)
        url = f"{config.parts.scheme}://{host}:{config.port}{config.path}{path}"
        try:
            # A total limit: a peer that sends a byte now and then would never reach the read timeout.
            async with (
                asyncio.timeout(config.timeout_seconds + self._connect_timeout),
                self._pool.stream(
                    method, url, headers=headers, content=body, extensions={"timeout": limits}
                ) as answer,
            ):
                content = bytearray()
                async for piece in answer.aiter_stream():
                    content += piece
                    if len(content) > LARGEST_ANSWER:
                        raise DeliveryError(f"{self._peer} sends an answer that is too large")
                return answer.status, bytes(content)
        except (httpcore.TimeoutException, TimeoutError):
            raise Unreachable(f"{self._peer} timed out") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
            why = reason_of(_root_cause(error))
            raise Unreachable(f"cannot connect to {self._peer}: {why}") from None

    def _describe(self, status: int) -> str:
        peer = self._peer
        match status:
            case 401 | 403:
                return f"{peer} refuses the login (status {status}); check the user and password in 'url'"
            case 429:
                return f"{peer} is overloaded (status 429)"
            case _ if 300 <= status < 400:
                return f"{peer} answers with a redirect (status {status}); use its target as 'url' if correct"
            case _ if status >= 500:
                return f"{peer} fails, or is starting (status {status})"
            case _:
                return f"{peer} does not accept logs at this URL (status {status})"


class _PolicyBackend(httpcore.AsyncNetworkBackend):
    """Connections for httpcore, to permitted addresses only."""

    def __init__(self, policy: OutboundPolicy) -> None:
        self._policy = policy
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's name
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        error: Exception | None = None
        for _, (address, _) in await self._policy.permitted_addresses(host, port):
            try:
                return await self._backend.connect_tcp(address, port, timeout)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
        raise error or httpcore.ConnectError("no address")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _root_cause(error: BaseException) -> BaseException:
    """Return the root cause of an error of httpcore, which says more than the wrapping error."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error
