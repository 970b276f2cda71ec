"""How an operation is carried out; the drop-in ``pydo`` replaces the two methods with rules of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from .._pagination import Paginator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from .._operations import Operation
    from ..types import Call
    from .client import AsyncClient

T = TypeVar("T")


class AsyncResource:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def _call(
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
        return await self._fetch(operation, names, call, body, query=query)

    async def _fetch(
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
        answer = await client._perform(client._request_for(operation, names, call, body, query))
        return client._value(answer, operation)

    async def _iterate(
        self,
        operation: Operation[Any],
        names: tuple[str, ...],
        call: Call,
        key: str,
        per_page: int,
        **query: Any,
    ) -> AsyncIterator[Any]:
        pages = Paginator(key, per_page)
        while pages.number is not None:
            answer = await self._fetch(operation, names, call, query={**query, **pages.query()})
            for thing in pages.take(answer):
                yield thing
