"""The middleware of the API: request ids, authentication, rate limits, CORS.

It runs before routing, so requests for unknown paths need a token, count against the limits and get the same
headers, too.  Only the paths in ``PUBLIC`` need no token.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from functools import partial

from cenote.api import rejected_requests
from cenote.api.auth import authenticate
from cenote.api.errors import TooLarge, error_response
from cenote.api.limits import Limits, RateLimitStatus
from cenote.api.service import Service
from cenote.api.slot_wait import Gone, SlotWait
from cenote.errors import Unauthenticated, Unavailable
from cenote.http.routing import ASGIApp, Message, Receive, Scope, Send

# /metrics is public here because it accepts the credentials for metrics as well as a token.
PUBLIC = frozenset({"/", "/healthz", "/metrics", "/openapi.json", "/docs"})
UNKNOWN = "unknown"
WAS_REMOVED = "This host was removed from the service; ask the API of another host."


METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
PREFLIGHT_SECONDS = 7200  # how long browsers may cache the response, which is always the same
# Any origin is allowed: browsers do not add tokens by themselves, so cross-site requests need one, too.
_ANY_ORIGIN = (b"access-control-allow-origin", b"*")
_EXPOSED = (
    b"access-control-expose-headers",
    b"x-request-id, ratelimit-limit, ratelimit-remaining, ratelimit-reset, retry-after",
)


class ApiMiddleware:
    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        settings = service.settings
        self._limits = Limits(
            settings.requests_per_hour, settings.requests_per_minute, settings.burst_seconds
        )
        self._max_body_bytes = settings.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        request_id = _new_id()
        added = [(b"x-request-id", request_id.encode("ascii"))]

        cross_origin = _cross_origin(scope)
        if cross_origin is not None:
            added += [_ANY_ORIGIN, _EXPOSED]

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *added]
                if message["status"] >= 400:
                    rejected_requests.record(self._service, scope, request_id, message["status"])
            await send(message)

        if cross_origin is not None and scope["method"] == "OPTIONS" and cross_origin.method:
            await send(
                {"type": "http.response.start", "status": 204, "headers": cross_origin.allowed() + added}
            )
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        scope["request_id"] = request_id
        app = self._app
        try:
            try:
                limits = self._admit(scope)
            except Unauthenticated:
                if not await self._is_new_token(scope):
                    raise
                limits = self._admit(scope)
            if limits is not None and limits.slot is not None:
                waiting = SlotWait(self._limits, receive)
                limits = await waiting.wait(limits.slot)
                receive = waiting.receive
            if limits is not None:
                added.extend(limits.headers())
                if limits.error is not None:
                    raise limits.error
        except Gone:
            return
        except Exception as error:
            app = error_response(error, request_id)
        try:
            await app(scope, receive, send_with_headers)
        finally:
            self._count(scope, status, began)

    def _count(self, scope: Scope, status: int, began: float) -> None:
        """Count a response; unmatched paths share a label, since clients can make up any number of them."""
        if not status:
            return
        path = scope.get("path_template")
        method, path = (scope["method"], str(path)) if path else (UNKNOWN, UNKNOWN)
        self._service.requests.add(method, path, status, time.perf_counter() - began)

    async def _is_new_token(self, scope: Scope) -> bool:
        """Look up an unknown token in etcd; return whether it was found."""
        authorization = dict(scope["headers"]).get(b"authorization")
        client = scope.get("client")
        address = client[0] if client is not None else ""
        return await self._service.unknown_tokens.confirm(self._service.store, authorization, address)

    def _admit(self, scope: Scope) -> RateLimitStatus | None:
        """Store the caller in the scope unless the path is public; raise if it is not authenticated.

        Return what the rate limits say of the request, None if there are none for it.
        """
        if self._service.store.removed_host(self._service.settings.host_id) is not None:
            raise Unavailable(WAS_REMOVED)
        authorization = length = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"content-length":
                length = value
        if length is not None and int(length) > self._max_body_bytes:
            raise TooLarge(f"The request body is larger than {self._max_body_bytes} bytes.")
        if scope["path"] in PUBLIC:
            return None
        caller = authenticate(self._service.store, authorization)
        scope["auth"] = caller
        return self._limits.spend(caller.token.id, time.monotonic(), time.time(), partial(_key, scope))


def _key(scope: Scope) -> bytes:
    """Return what a request has in common with its repetition by the same client."""
    client = scope.get("client")
    address = client[0] if client is not None else ""
    line = f"{address} {scope['method']} {scope['path']}?".encode("utf-8", "surrogateescape")
    return hashlib.sha256(line + scope["query_string"]).digest()


def _new_id() -> str:
    """Return a version 4 UUID, several times faster than ``uuid.uuid4``."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


@dataclass(frozen=True, slots=True)
class _CrossOrigin:
    """A cross-origin request of a browser; ``method`` is set for a preflight request."""

    method: bytes
    headers: bytes

    def allowed(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", self.headers or b"authorization, content-type"),
            (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
        ]


def _cross_origin(scope: Scope) -> _CrossOrigin | None:
    origin = method = headers = b""
    for name, value in scope["headers"]:
        if name == b"origin":
            origin = value
        elif name == b"access-control-request-method":
            method = value
        elif name == b"access-control-request-headers":
            headers = value
    return _CrossOrigin(method, headers) if origin else None
