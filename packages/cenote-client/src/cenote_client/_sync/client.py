# Made from _async/client.py by tools/unasync.py; change that one.

"""The client: connections, retries, and the generic call; the operations are in the modules beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import _http
from .._base import OFFICIAL, USER_AGENT, BaseClient, Request
from .._io import sleep
from .._retry import Attempts, Retry, seconds_of
from ..errors import UsageError
from .databases import Databases

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    import httpx

    from ..types import Timeout


class Client(BaseClient):
    """Talks to the DigitalOcean Databases API, or to a Cenote service that speaks it.

    ``token`` goes into every request.  ``endpoint`` is where the service is, ``timeout`` seconds for each of
    connecting, sending and receiving (or an ``httpx.Timeout``), ``retry`` a ``Retry`` or None for none,
    ``verify`` False, an ``ssl.SSLContext`` or a file of certificates to trust, ``proxy`` an address,
    ``headers`` are sent with every call, ``transport`` replaces the network below httpx, and
    ``allow_plain_http`` lets the token travel unencrypted to another machine.

    Connections are kept and used again; ``with`` or ``close()`` closes them.
    """

    def __init__(
        self,
        token: str,
        *,
        endpoint: str = OFFICIAL,
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
        self._transport = transport
        self.databases = Databases(self)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
    ) -> Any:
        """Call any path of the service, and return what its JSON holds, or None when the body is empty.

        For what has no method of its own.  Names in ``path`` must be escaped already.  Retries and errors are
        those of every other call.
        """
        answer = self._perform(self._make_request(method.upper(), path, {}, json, params))
        self._raise_for_status(answer)
        return self._decode(answer) if answer.content else None

    def close(self) -> None:
        """Close all connections; the client makes no further calls."""
        self._closed = True
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _perform(self, request: Request, retry: Retry | None = None) -> httpx.Response:
        """Send the request until it is answered well or the retries are spent; return the last answer."""
        attempts = Attempts(retry or self._retry, request.method)
        while True:
            try:
                answer = self._exchange(request)
            except _http.failures() as error:
                problem = _http.as_ours(error)
                wait = None
                if not _http.is_lasting(error):
                    wait = attempts.after_failure(reached=_http.was_reached(error))
                if wait is None:
                    raise problem from error
                reason = str(problem)
            else:
                self._note_limit(answer.headers)
                if answer.status_code < 400:
                    return answer
                pause = seconds_of(answer.headers.get("retry-after"))
                wait = attempts.after_status(answer.status_code, pause)
                if wait is None:
                    return answer
                reason = f"{answer.status_code} {answer.reason_phrase}"
            _http.log_repeat(request, reason, wait)
            sleep(wait)

    def _exchange(self, request: Request) -> httpx.Response:
        transport = self._transport or self._open()
        answer = transport.handle_request(_http.request_of(request))
        try:
            answer.read()
        except _http.undecodable():
            answer.close()
            return _http.without_body(answer)
        except BaseException:
            answer.close()
            raise
        return answer

    def _open(self) -> httpx.BaseTransport:
        with self._opening:
            if self._closed:
                raise UsageError("the client is closed")
            if self._transport is None:
                self._transport = _http.transport(self.endpoint, self._verify, self._proxy)
            return self._transport
