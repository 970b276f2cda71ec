"""The declaration of operations, and their answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPMethod
from typing import Any

import msgspec

from cenote.api.call import Call
from cenote.errors import NotFound
from cenote.http.routing import Response, Route


class Body(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The base of request bodies: unknown fields are errors, as they are often misspelt."""


@dataclass(frozen=True, slots=True)
class Operation:
    """The declaration of an operation, which the OpenAPI document is generated from."""

    method: HTTPMethod
    scope: str | None
    status: int
    summary: str
    body: Any = None
    answer: Any = None
    paged: bool = False
    query: tuple[str, ...] = ()
    also: tuple[int, ...] = ()  # status codes of errors beyond those common to such operations
    and_scope: str | None = None
    streams: bool = False  # ``answer`` is the data of each server-sent event
    of_replica: str = ""

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that a token needs, all of them; empty for public operations and for ``ANY``."""
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
    of_replica: str = "",
) -> Callable[[Answering], OperationRoute]:
    """Declare a coroutine as an operation; its docstring is the summary and description.

    ``scope`` is required to call it, and ``and_scope``, too, if given.  An operation with scope None is
    public, one with ``ANY`` needs a valid token.  ``of_replica`` is why it is refused for a read replica, see
    ``rules/replicas.py``.
    """

    def declare(answering: Answering) -> OperationRoute:
        summary = (answering.__doc__ or "").strip()

        async def handle(request: Call) -> Response:
            for needed in scopes:
                request.caller.require(needed)
            try:
                return await answered(request)
            except NotFound:
                if not await request.confirm_path():
                    raise
            return await answered(request)

        async def answered(request: Call) -> Response:
            if of_replica:
                request.refuse_replica(of_replica)
            return await answering(request)

        handle.__name__ = handle.__qualname__ = getattr(answering, "__name__", "handle")
        declared = Operation(
            method, scope, status, summary, body, answer, paged, query, also, and_scope, streams, of_replica
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
