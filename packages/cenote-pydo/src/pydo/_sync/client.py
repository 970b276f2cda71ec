# Generated from _async/client.py by tools/unasync.py; edit that file.

"""pydo's ``Client``, with the arguments and the results of the official one."""

from __future__ import annotations

from io import IOBase
from typing import TYPE_CHECKING, Any

from cenote_client._sync import client as base
from cenote_client._sync.databases_api import DatabasesAPI
from cenote_client.errors import AnswerError, NetworkError

from .. import _options
from .._options import missing_group
from .._response import Response
from .._results import azure_error, required_body, result_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cenote_client._operations import Operation


class Client(base.Client):
    """pydo's client, with the group ``databases``.

    Takes the official arguments: ``token`` or ``api_key=``, ``endpoint=``, ``timeout=``,
    ``connection_timeout=`` and ``read_timeout=`` in seconds, ``connection_verify=``, ``proxies=``,
    ``retry_total=`` and the like.  With ``raise_not_found=True``, a 404 raises ResourceNotFoundError
    instead of being returned.
    """

    databases: DatabasesOperations

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
        self.databases = DatabasesOperations(self)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(missing_group(name))


class DatabasesOperations(DatabasesAPI):
    """The operations of the Databases API; results are plain dicts, as in pydo."""

    _client: Client

    def _call(
        self,
        operation: Operation[Any],
        names: tuple[str, ...],
        call: Mapping[str, Any],
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        response = self._send(operation, names, call, body, query)
        return result_of(response, operation, call, raise_not_found=self._client._raise_not_found)

    def _fetch(
        self,
        operation: Operation[Any],
        names: tuple[str, ...],
        call: Mapping[str, Any],
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        return required_body(self._send(operation, names, call, body, query), operation)

    def _send(
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
            return Response(client._perform(request, retry), client._token.reveal())
        except (NetworkError, AnswerError) as error:
            raise azure_error(error) from error
