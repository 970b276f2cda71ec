"""What every request passes before it is routed: its id, who is calling, and the rate limits.

It stands outside of Litestar, whose middleware comes after routing: so an unknown path costs a token its
request, too, and is answered with the same headers.  Whatever is not named as public needs a token.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from cenote.api import pools, rejected_requests
from cenote.api.auth import Caller, authenticate
from cenote.api.errors import TooLarge, answer_to
from cenote.api.limits import Limits
from cenote.api.service import Service
from cenote.errors import Unauthenticated

# /metrics is among them because it takes the login for metrics as well as a token.
PUBLIC = frozenset({"/", "/healthz", "/metrics", "/openapi.json", "/docs"})
UNKNOWN = "unknown"


METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
PREFLIGHT_SECONDS = 7200  # how long a browser may remember the answer, which is always the same
# Any page may call, since no browser adds a token by itself: whoever has none is refused like everybody else.
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
        self._limits = Limits(settings.requests_per_hour, settings.requests_per_minute)
        self._max_body_bytes = settings.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        request_id = str(uuid4())
        added = [(b"x-request-id", request_id.encode("ascii"))]

        asked = _cross_origin(scope)
        if asked is not None:
            added += [_ANY_ORIGIN, _EXPOSED]

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *added]
                if message["status"] >= 400:
                    rejected_requests.remember(self._service, scope, request_id, message["status"])
            await send(message)

        if asked is not None and scope["method"] == "OPTIONS" and asked.method:
            await send({"type": "http.response.start", "status": 204, "headers": asked.allowed() + added})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        caller = body = None
        try:
            try:
                caller = self._admit(scope, added)
            except Unauthenticated:
                if not await self._is_new_token(scope):
                    raise
                caller = self._admit(scope, added)
            if caller is not None and scope["method"] == "GET":
                body = pools.shortcut(self._service, caller, scope["path"])
        except Exception as error:
            refusal = answer_to(error, request_id).outside_of_routing()
            await refusal(scope, receive, send_with_headers)
            if caller is not None:  # it was let in, so it is the pool that was asked for
                scope["path_template"] = pools.ONE_POOL
            self._count(scope, status, began)
            return
        if body is not None:
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": 200, "headers": headers + added})
            await send({"type": "http.response.body", "body": body, "more_body": False})
            self._service.requests.add("GET", pools.ONE_POOL, 200, time.perf_counter() - began)
            return
        scope["request_id"] = request_id  # type: ignore[typeddict-unknown-key]
        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            self._count(scope, status, began)

    def _count(self, scope: HTTPScope, status: int, began: float) -> None:
        """Count an answer; what led to no operation is no label, since clients can make up anything."""
        if not status:
            return
        path = scope.get("path_template")
        method, path = (scope["method"], str(path)) if path else (UNKNOWN, UNKNOWN)
        self._service.requests.add(method, path, status, time.perf_counter() - began)

    async def _is_new_token(self, scope: HTTPScope) -> bool:
        """Return whether the token that is shown has just become known, by asking etcd."""
        authorization = dict(scope["headers"]).get(b"authorization")
        client = scope.get("client")
        address = client[0] if client is not None else ""
        return await self._service.unknown_tokens.confirm(self._service.store, authorization, address)

    def _admit(self, scope: HTTPScope, added: list[tuple[bytes, bytes]]) -> Caller | None:
        """Return who is calling, None where that does not matter; raise what stops the request.

        Headers for the answer, be it good or bad, are added to ``added``.
        """
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
        now = time.time()
        caller = authenticate(self._service.store, authorization, datetime.fromtimestamp(now, UTC))
        scope["auth"] = caller
        spent = self._limits.spend(caller.token.id, now)
        if spent is not None:
            added.extend(spent.headers())
            if spent.error is not None:
                raise spent.error
        return caller


@dataclass(frozen=True, slots=True)
class _CrossOrigin:
    """What a browser asks for on behalf of a page from elsewhere; with ``method`` before the call itself."""

    method: bytes
    headers: bytes

    def allowed(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", self.headers or b"authorization, content-type"),
            (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
        ]


def _cross_origin(scope: HTTPScope) -> _CrossOrigin | None:
    origin = method = headers = b""
    for name, value in scope["headers"]:
        if name == b"origin":
            origin = value
        elif name == b"access-control-request-method":
            method = value
        elif name == b"access-control-request-headers":
            headers = value
    return _CrossOrigin(method, headers) if origin else None
