"""Routing, requests and responses: the one module that names the web framework, Starlette.

Only the router, the request and the response of Starlette are used.  Its application class would add two
middlewares for errors to each call; here each path handles the exceptions of its routes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

from starlette import requests, responses, routing
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = [
    "ASGIApp",
    "ClientDisconnect",
    "HTTPException",
    "Message",
    "Receive",
    "Request",
    "Response",
    "Route",
    "Scope",
    "Send",
    "router",
]

R = TypeVar("R", bound="Request")

_FORM = "application/x-www-form-urlencoded"
_SLASHES = re.compile("//+")


class Request(requests.Request):
    """A request with a limit on the size of its body."""

    @property
    def query_params(self) -> QueryParams:
        """The query parameters; of a repeated one, the first value."""
        if not hasattr(self, "_query_params"):
            first: dict[str, str] = {}
            for name, value in parse_qsl(
                self.scope["query_string"].decode("latin-1"), keep_blank_values=True
            ):
                first.setdefault(name, value)
            self._query_params = QueryParams(first)
        return self._query_params

    async def limited_body(self, most: int) -> bytes:
        """Return the body; HTTPException 413 above the limit, ClientDisconnect if the client leaves."""
        if not hasattr(self, "_body"):
            chunks, size = list[bytes](), 0
            async for chunk in self.stream():
                size += len(chunk)
                if 0 < most < size:
                    raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                chunks.append(chunk)
            self._body = b"".join(chunks)
        return self._body

    async def fields(self, most: int) -> list[tuple[str, str]]:
        """Return the fields of a URL-encoded form, in order; a body of another type has none."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = await self.limited_body(most)
        return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True) if kind == _FORM else []


class Response(responses.Response):
    """A response with a JSON body by default; ``headers`` may repeat a name."""

    def __init__(
        self,
        body: bytes = b"",
        status_code: int = 200,
        headers: Iterable[tuple[str, str]] = (),
        media_type: str = "application/json",
    ) -> None:
        super().__init__(body, status_code, None, media_type)
        self.raw_headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Set the headers of the body; Starlette's own method is slower, as it looks for given ones first."""
        self.raw_headers = []
        if self.status_code != HTTPStatus.NO_CONTENT:
            self.raw_headers.append((b"content-length", b"%d" % len(self.body)))
            self.raw_headers.append((b"content-type", _content_type(self.media_type or "")))


@functools.cache
def _content_type(media_type: str) -> bytes:
    bare = media_type.startswith("text/") and "charset=" not in media_type
    return f"{media_type}; charset=utf-8".encode() if bare else media_type.encode()


Handler = Callable[[R], Awaitable[responses.Response]]


@dataclass(frozen=True, slots=True)
class Route(Generic[R]):
    """The handler of one method of a path; the handler of GET serves HEAD, too."""

    method: HTTPMethod
    path: str
    handle: Handler[R]

    @property
    def name(self) -> str:
        return getattr(self.handle, "__name__", "handle")


def router(
    routes: Iterable[Route[R]],
    request: Callable[[Scope, Receive, Send], R],
    refuse: Callable[[R, Exception], Response],
) -> ASGIApp:
    """Return an ASGI application of these routes.

    ``request`` creates the argument of the handlers, ``refuse`` the response to an exception.  Routing sets
    ``path_template`` in the scope to the declared path.
    """
    by_path: dict[str, dict[str, Handler[R]]] = {}
    for route in routes:
        methods = by_path.setdefault(route.path, {})
        methods[route.method] = route.handle
        if route.method is HTTPMethod.GET:
            methods[HTTPMethod.HEAD] = route.handle

    async def missing(scope: Scope, receive: Receive, send: Send) -> None:
        response = refuse(request(scope, receive, send), HTTPException(HTTPStatus.NOT_FOUND))
        await response(scope, receive, send)

    # Literal segments take precedence over parameters.
    ordered = sorted(by_path, key=lambda path: [segment.startswith("{") for segment in path.split("/")])
    return _Router([_Path(path, by_path[path], request, refuse) for path in ordered], missing)


class _Path(routing.BaseRoute, Generic[R]):
    """All methods of one path.  Parameters are strings, and not converted as by Starlette's route."""

    def __init__(
        self,
        path: str,
        methods: dict[str, Handler[R]],
        request: Callable[[Scope, Receive, Send], R],
        refuse: Callable[[R, Exception], Response],
    ) -> None:
        self.path, self.methods, self._request, self._refuse = path, methods, request, refuse
        self._allowed = {"allow": ", ".join(sorted({*methods, HTTPMethod.OPTIONS}))}
        self._pattern, _, _ = routing.compile_path(path)

    def matches(self, scope: Scope) -> tuple[routing.Match, Scope]:
        # fullmatch, since Starlette's patterns end with "$", which matches before a final newline, too.
        found = self._pattern.fullmatch(scope["path"])
        if found is None:
            return routing.Match.NONE, {}
        return routing.Match.FULL, {"path_params": found.groupdict()}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = self._request(scope, receive, send)
        handle = self.methods.get(scope["method"])
        response: responses.Response
        if handle is not None:
            scope["path_template"] = self.path
            try:
                response = await handle(request)
            except Exception as error:
                response = self._refuse(request, error)
        elif scope["method"] == HTTPMethod.OPTIONS:
            scope["path_template"] = self.path
            response = Response(status_code=HTTPStatus.NO_CONTENT, headers=self._allowed.items())
        else:
            wrong = HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers=self._allowed)
            response = self._refuse(request, wrong)
        await response(scope, receive, send)


class _Router(routing.Router):
    """Routes by the number of segments first, as Starlette tries one path after the other.

    Empty segments and a trailing slash are ignored.
    """

    def __init__(self, paths: Sequence[_Path[Any]], default: ASGIApp) -> None:
        super().__init__(paths, redirect_slashes=False, default=default)
        by_length: dict[int, list[_Path[Any]]] = {}
        for path in paths:
            by_length.setdefault(path.path.count("/"), []).append(path)
        self._by_length = {
            length: routing.Router(some, redirect_slashes=False, default=default)
            for length, some in by_length.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if path[-1:] == "/" or "//" in path:
            path = scope["path"] = _SLASHES.sub("/", f"/{path.strip('/')}")
        router = self._by_length.get(path.count("/"))
        await (self.default if router is None else router.app)(scope, receive, send)
