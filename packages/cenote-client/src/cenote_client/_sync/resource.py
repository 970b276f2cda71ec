# Generated from _async/resource.py by tools/unasync.py; edit that file.

# ruff: noqa: UP028

"""Base of the resources: sends an operation and parses its response.

The drop-in ``pydo`` overrides ``_call`` and ``_fetch`` with pydo's rules for results and errors.
"""

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
        """Send an operation on behalf of a public method, and return the parsed body.

        Methods without a result return this value too, because the drop-in ``pydo`` returns the body of a 404
        from every method.
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
        """Send an operation whose result is processed further; every status but a success raises."""
        client = self._client
        response = client._perform(client._request_for(operation, names, call, body, query))
        return client._parse(response, operation)

    def _iterate(
        self,
        operation: Operation[Any],
        names: tuple[str, ...],
        call: Call,
        key: str,
        per_page: int,
        **query: Any,
    ) -> Iterator[Any]:
        """Yield the items below ``key`` of all pages, requesting each page when it is needed."""
        pages = Paginator(key, per_page)
        while pages.number is not None:
            response = self._fetch(operation, names, call, query={**query, **pages.query()})
            for thing in pages.items(response):
                yield thing
