"""The one way in which an operation is carried out; the drop-in ``pydo`` replaces it with rules of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._operations import Operation
    from ..types import Call
    from .client import AsyncClient

T = TypeVar("T")


class AsyncCaller:
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
        client = self._client
        answer = await client._perform(client._request_for(operation, names, call, body, query))
        return client._value(answer, operation)
