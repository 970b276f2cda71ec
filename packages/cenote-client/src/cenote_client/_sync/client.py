# Generated from _async/client.py by tools/unasync.py; edit that file.

# ruff: noqa: C416

"""The client: connections, retries and ``request``; the operations are in the other modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import _transport
from .._base import DEFAULT_ENDPOINT, USER_AGENT, BaseClient, Request
from .._retry import Attempts, Retry, parse_retry_after
from .._sleep import sleep
from ..errors import UsageError
from .cenote import Cenote
from .databases_api import DatabasesAPI

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    import httpx

    from .._response import Response
    from ..types import Timeout


class Client(BaseClient):
    """Client of the DigitalOcean Databases API, as the hosted product and a Cenote service offer it.

    - ``endpoint``: URL of the service.
    - ``timeout``: seconds for each of connecting, sending and receiving, or an ``httpx.Timeout``.
    - ``retry``: a ``Retry``, or None to disable retries.
    - ``verify``: a file of CA certificates, an ``ssl.SSLContext``, or False.
    - ``proxy``: URL of a proxy; by default the environment's.
    - ``headers``: sent with every call.
    - ``transport``: an httpx transport to use instead of the network.
    - ``allow_plain_http``: allows an ``http://`` endpoint on another machine; the token is then unencrypted.

    ``databases`` has the operations of the reference, ``cenote`` those that only a Cenote service has.
    ``rate_limit`` is the ``RateLimit`` of the last response, None before the first.  Connections are kept
    alive until ``close()`` or the end of ``with``.  Raises UsageError for invalid settings.
    """

    def __init__(
        self,
        token: str,
        *,
        endpoint: str = DEFAULT_ENDPOINT,
        timeout: Timeout = 60.0,
        retry: Retry | None = Retry(),  # noqa: B008 - it cannot be changed
        verify: bool | str | os.PathLike[str] | ssl.SSLContext = True,
        proxy: str | httpx.Proxy | None = None,
        headers: Mapping[str, str] | None = None,
        user_agent: str = USER_AGENT,
        transport: httpx.BaseTransport | None = None,
        allow_plain_http: bool = False,
    ) -> None:
        super().__init__(
            token,
            endpoint=endpoint,
            timeout=timeout,
            retry=retry,
            verify=verify,
            proxy=proxy,
            headers=headers,
            user_agent=user_agent,
            allow_plain_http=allow_plain_http,
        )
        self._adapter = None if transport is None else _transport.wrap_httpx(transport)
        self.databases: DatabasesAPI = DatabasesAPI(self)
        self.cenote: Cenote = Cenote(self)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
    ) -> Any:
        """Send a request to any path of the service; return the parsed JSON, or None for an empty body.

        For operations without a method.  ``path`` must be escaped already.  Retries and errors are those of
        the other methods.
        """
        if not path.startswith("/"):
            raise UsageError(f"the path must begin with a slash, unlike {path!r}")  # or it changes the host
        response = self._perform(self._make_request(method.upper(), path, {}, json, params))
        self._raise_for_status(response)
        return self._decode(response) if response.content else None

    def close(self) -> None:
        """Close all connections; later calls raise UsageError."""
        self._closed = True
        adapter, self._adapter = self._adapter, None
        if adapter is not None:
            adapter.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _perform(self, request: Request, retry: Retry | None = None) -> Response:
        """Send the request, with retries, and return the last response."""
        attempts = Attempts(retry or self._retry, request.method)
        while True:
            adapter = self._adapter or self._open()
            try:
                response = self._exchange(adapter, request)
            except adapter.errors as error:
                from .. import _transport_errors  # imported late, because a successful call never needs it

                problem = _transport_errors.as_client_error(error, adapter.library)
                wait = None
                if not _transport_errors.is_permanent(error, adapter.library):
                    wait = attempts.after_failure(
                        reached=_transport_errors.may_have_been_sent(error, adapter.library)
                    )
                if wait is None:
                    raise problem from error
                reason = str(problem)
            else:
                self._record_rate_limit(response.headers)
                if response.status_code < 400:
                    return response
                pause = parse_retry_after(response.headers.get("retry-after"))
                wait = attempts.after_status(response.status_code, pause)
                if wait is None:
                    return response
                reason = f"{response.status_code} {response.reason_phrase}"
            _transport.log_retry(request, reason, wait)
            sleep(wait)

    def _exchange(self, adapter: _transport.Adapter, request: Request) -> Response:
        response = adapter.transport.handle_request(adapter.build_request(request))
        try:
            content = b"".join([part for part in response.stream])
        finally:
            response.close()
        return adapter.read_response(response, content)

    def _open(self) -> _transport.Adapter:
        with self._opening:
            if self._closed:
                raise UsageError("the client is closed")
            if self._adapter is None:
                self._adapter = _transport.open_adapter(self.endpoint, self._verify, self._proxy, self)
            return self._adapter
