# Made from _async/resource.py by tools/unasync.py; change that one.

# ruff: noqa: UP028

"""How an operation is carried out; the drop-in ``pydo`` replaces the two methods with rules of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from .._pagination import Paginator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .._operations import Operation
    from ..types import Call
    from .client import Client

T = TypeVar("T")


class Resource:
    def __init__(self, client: Client) -> None:
        self._client = client

    def _call(
        self,
        operation: Operation[T],
        names: tuple[str, ...],
        call: Call,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
    ) -> T:
        """Carry out an operation that the user asked for by its name.

        What comes back is returned even by the operations that have nothing to return: the drop-in ``pydo``
        returns the body of a 404 from each.
        """
        return self._fetch(operation, names, call, body, query=query)

    def _fetch(
        self,
        operation: Operation[T],
        names: tuple[str, ...],
        call: Call,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
    ) -> T:
        """Carry out an operation whose answer is wanted for something else; what is no success is raised."""
        client = self._client
        answer = client._perform(client._request_for(operation, names, call, body, query))
        return client._value(answer, operation)

    def _iterate(
        self,
        operation: Operation[Any],
        names: tuple[str, ...],
        call: Call,
        key: str,
        per_page: int,
        **query: Any,
    ) -> Iterator[Any]:
        pages = Paginator(key, per_page)
        while pages.number is not None:
            answer = self._fetch(operation, names, call, query={**query, **pages.query()})
            for thing in pages.take(answer):
                yield thing
