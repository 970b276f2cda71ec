"""What every request passes before it is routed: its id, who is calling, and the rate limits.

It runs before routing, so a request for an unknown path counts against the limits, too, and gets the same
headers.  Whatever is not named as public needs a token.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from cenote.api import rejected_requests
from cenote.api.auth import authenticate
from cenote.api.errors import TooLarge, answer_to
from cenote.api.limits import Limits
from cenote.api.service import Service
from cenote.errors import Unauthenticated
from cenote.http.routing import ASGIApp, Message, Receive, Scope, Send

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
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        request_id = _new_id()
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
        scope["request_id"] = request_id
        app = self._app
        try:
            try:
                self._admit(scope, added)
            except Unauthenticated:
                if not await self._is_new_token(scope):
                    raise
                self._admit(scope, added)
        except Exception as error:
            app = answer_to(error, request_id)
        try:
            await app(scope, receive, send_with_headers)
        finally:
            self._count(scope, status, began)

    def _count(self, scope: Scope, status: int, began: float) -> None:
        """Count an answer; what led to no operation is no label, since clients can make up anything."""
        if not status:
            return
        path = scope.get("path_template")
        method, path = (scope["method"], str(path)) if path else (UNKNOWN, UNKNOWN)
        self._service.requests.add(method, path, status, time.perf_counter() - began)

    async def _is_new_token(self, scope: Scope) -> bool:
        """Return whether the token that is shown has just become known, by asking etcd."""
        authorization = dict(scope["headers"]).get(b"authorization")
        client = scope.get("client")
        address = client[0] if client is not None else ""
        return await self._service.unknown_tokens.confirm(self._service.store, authorization, address)

    def _admit(self, scope: Scope, added: list[tuple[bytes, bytes]]) -> None:
        """Note in the scope who is calling, where that matters; raise what stops the request.

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
            return
        caller = authenticate(self._service.store, authorization)
        scope["auth"] = caller
        spent = self._limits.spend(caller.token.id, time.time())
        if spent is not None:
            added.extend(spent.headers())
            if spent.error is not None:
                raise spent.error


def _new_id() -> str:
    """Return a UUID of version 4, several times as fast as ``uuid.uuid4``."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


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
