"""Calls of the API in process: without a socket, but through everything that other requests pass."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlencode

import msgspec

from cenote.http.routing import ASGIApp, Message, Receive, Scope, Send

_UNAUTHENTICATED, _FORBIDDEN, _TOO_MANY = 401, 403, 429


class ApiError(Exception):
    """An error response; ``message`` is the API's, meant for the user."""

    def __init__(self, status: int, message: str, request_id: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.request_id = request_id


class RequestRejected(ApiError):
    """The request is invalid; the user can correct it in the form."""


class NotAllowed(ApiError):
    """The token lacks a scope; no input would help."""


class SessionExpired(Exception):
    """The token of the session is no longer valid."""


class RateLimited(Exception):
    """The token has reached its rate limit; ``retry_after`` is in seconds, if known."""

    def __init__(self, retry_after: str | None) -> None:
        super().__init__("rate limit")
        self.retry_after = retry_after


class ApiClient:
    """The API for one request to the console, called with its token and from its client address."""

    def __init__(self, app: ASGIApp, token: str, client: tuple[str, int] | None, host: bytes) -> None:
        self._app = app
        self._token = token
        self._client = client
        self._host = host
        self.pending = ""  # why the last change is recorded, but not in force yet

    async def get(self, path: str, **query: str | int) -> Any:
        return await self.call("GET", path, query=query)

    async def post(self, path: str, body: Any = None) -> Any:
        return await self.call("POST", path, body)

    async def put(self, path: str, body: Any = None) -> Any:
        return await self.call("PUT", path, body)

    async def patch(self, path: str, body: Any) -> Any:
        return await self.call("PATCH", path, body)

    async def delete(self, path: str) -> Any:
        return await self.call("DELETE", path)

    async def call(
        self, method: str, path: str, body: Any = None, query: Mapping[str, str | int] | None = None
    ) -> Any:
        """Return the decoded JSON of the response, None for an empty one; ``path`` has to be quoted.

        Raises SessionExpired, RateLimited, NotAllowed or RequestRejected.
        """
        sent = b"" if body is None else msgspec.json.encode(body)
        status, headers, received = await self._response(method, path, sent, urlencode(query or {}))
        decoded = msgspec.json.decode(received) if received else None
        if status < 400:
            if method != "GET":
                self.pending = _pending(decoded)
            return decoded
        if status == _UNAUTHENTICATED:
            raise SessionExpired
        if status == _TOO_MANY:
            raise RateLimited(headers.get(b"retry-after", b"").decode() or None)
        body = decoded if isinstance(decoded, dict) else {}
        kind = NotAllowed if status == _FORBIDDEN else RequestRejected
        raise kind(status, body.get("message", "The API gave no reason."), body.get("request_id", ""))

    async def follow(
        self,
        path: str,
        headers: list[tuple[bytes, bytes]],
        receive: Receive,
        send: Send,
        method: str = "GET",
    ) -> None:
        """Forward a response of the API as it arrives, also one that does not end."""
        await self._app(self._scope(method, path, "", headers), receive, send)

    def _scope(self, method: str, path: str, query: str, headers: list[tuple[bytes, bytes]]) -> Scope:
        own = [(b"host", self._host), (b"authorization", f"Bearer {self._token}".encode())]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": own + headers,
            "client": self._client,
            "server": None,
            "state": {},
        }

    async def _response(
        self, method: str, path: str, sent: bytes, query: str
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        kind = [(b"content-type", b"application/json")] if sent else []
        scope = self._scope(method, path, query, [*kind, (b"content-length", b"%d" % len(sent))])
        pending = [{"type": "http.request", "body": sent, "more_body": False}]
        status, found, parts = 500, dict[bytes, bytes](), list[bytes]()

        async def receive() -> Any:
            if pending:
                return pending.pop()
            await asyncio.Event().wait()  # this client does not disconnect
            raise AssertionError

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                found.update((name.lower(), value) for name, value in message["headers"])
            elif message["type"] == "http.response.body":
                parts.append(message["body"])

        await self._app(scope, receive, send)
        return status, found, b"".join(parts)


def _pending(decoded: Any) -> str:
    added = decoded.get("cenote") if isinstance(decoded, dict) else None
    return str(added["reason"]) if isinstance(added, dict) and added.get("pending") else ""


def path_of(*steps: object) -> str:
    """Return the API path of a cluster or of something in it, with each step quoted."""
    return "/v2/databases/" + "/".join(quote(str(step), safe="") for step in steps)
