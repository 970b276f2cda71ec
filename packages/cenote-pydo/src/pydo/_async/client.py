"""``Client`` with pydo's arguments, and ``client.databases`` with pydo's results."""

from __future__ import annotations

from io import IOBase
from typing import TYPE_CHECKING, Any

from cenote_client._async import client as base
from cenote_client._async.databases_api import AsyncDatabasesAPI
from cenote_client.errors import AnswerError, NetworkError

from .. import _options
from .._groups import without_group
from .._response import Response
from .._results import outcome, service_error, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cenote_client._operations import Operation


class AsyncClient(base.AsyncClient):
    """The client of pydo for ``databases``, over ``cenote_client``.

    Takes what the official one takes: a token, or ``api_key=``; ``endpoint=``, ``timeout=``,
    ``connection_timeout=``, ``read_timeout=``, ``connection_verify=``, ``proxies=``, ``retry_total=`` and its
    kin.  With ``raise_not_found=True`` a 404 is raised as ResourceNotFoundError instead of being returned.
    """

    databases: AsyncDatabasesOperations

    def __init__(
        self,
        token: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 120,
        raise_not_found: bool = False,
        **kwargs: Any,
    ) -> None:
        settings, self._times = _options.client_settings(token, api_key, {"timeout": timeout, **kwargs})
        super().__init__(**settings)
        self._raise_not_found = raise_not_found
        self.databases = AsyncDatabasesOperations(self)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(without_group(name))


class AsyncDatabasesOperations(AsyncDatabasesAPI):
    """All operations of the Databases API, each returning plain dicts as pydo does."""

    _client: AsyncClient

    async def _call(
        self,
        operation: Operation[Any],
        names: tuple[str, ...],
        call: Mapping[str, Any],
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        answer = await self._answer(operation, names, call, body, query)
        return outcome(answer, operation, call, raise_not_found=self._client._raise_not_found)

    async def _fetch(
        self,
        operation: Operation[Any],
        names: tuple[str, ...],
        call: Mapping[str, Any],
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        return whole(await self._answer(operation, names, call, body, query), operation)

    async def _answer(
        self,
        operation: Operation[Any],
        names: tuple[str, ...],
        call: Mapping[str, Any],
        body: Any,
        query: Mapping[str, Any] | None,
    ) -> Response:
        client = self._client
        settings, retry = _options.call_settings(call, client._times, has_body=body is not None)
        raw = body.read() if isinstance(body, IOBase) else body if isinstance(body, bytes) else None
        request = client._request_for(operation, names, settings, None if raw is not None else body, query)
        if raw is not None:
            request = request._replace(content=raw)
        try:
            return Response(await client._perform(request, retry), client._token.reveal())
        except (NetworkError, AnswerError) as error:
            raise service_error(error) from error
