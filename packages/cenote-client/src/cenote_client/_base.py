"""What the sync and the async client have in common: all that does no I/O.

Nothing here waits or connects; the token leaves its Secret only in the headers of a request.
"""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from ._retry import NO_RETRY, Retry, parse_retry_after
from ._secret import Secret, redacted
from .errors import AnswerError, UsageError, decoded, error_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from typing import Self

    import httpx

    from ._operations import Operation
    from ._response import Response
    from .types import Call, Timeout

T = TypeVar("T")

DEFAULT_ENDPOINT = "https://api.digitalocean.com"
VERSION = "0.1.0"
USER_AGENT = f"cenote-client/{VERSION}"
UNSENDABLE = "the request cannot be sent: HTTP forbids a character in a header or in the address"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class RateLimit(NamedTuple):
    """The hourly limit as last told; at ``reset`` (Unix time) the oldest call stops counting."""

    limit: int
    remaining: int
    reset: int


class Request(NamedTuple):
    """One call, ready to be sent as often as it takes."""

    method: str
    url: str
    headers: dict[str, str]
    content: bytes | None
    limits: dict[str, float | None]

    def __repr__(self) -> str:
        return f"<Request: {self.method} {urlsplit(self.url).path}>"  # the headers hold the token


class BaseClient:
    """The settings of a client, how a request is made from them, and what an answer means."""

    def __init__(
        self,
        token: str,
        *,
        endpoint: str,
        timeout: Timeout,
        retry: Retry | None,
        verify: bool | str | os.PathLike[str] | ssl.SSLContext,
        proxy: str | httpx.Proxy | None,
        headers: Mapping[str, str] | None,
        user_agent: str,
        allow_plain_http: bool,
    ) -> None:
        self._token = Secret(checked_token(token))
        self.endpoint: str = checked_endpoint(endpoint, allow_plain_http)
        self.rate_limit: RateLimit | None = None
        self._timeout = timeouts_of(timeout)
        self._retry = NO_RETRY if retry is None else retry
        self._verify = verify
        self._proxy = proxy
        self._headers = {
            "accept": "application/json",
            "accept-encoding": "gzip, deflate",
            "user-agent": user_agent,
        }
        self._headers.update(lower(headers or {}))
        self._opening = threading.Lock()
        self._closed = False

    @classmethod
    def from_env(cls, **settings: Any) -> Self:
        """Return a client for the token and the endpoint that the environment names.

        Reads ``DIGITALOCEAN_TOKEN``, else ``DIGITALOCEAN_ACCESS_TOKEN``, and ``DIGITALOCEAN_API_URL``; the
        certificates to trust come from the file ``SSL_CERT_FILE``, when set.  ``settings`` are those of the
        class and win.  Raises UsageError when there is no token.
        """
        env = os.environ
        found: dict[str, Any] = {
            "token": env.get("DIGITALOCEAN_TOKEN") or env.get("DIGITALOCEAN_ACCESS_TOKEN") or "",
            "endpoint": env.get("DIGITALOCEAN_API_URL") or DEFAULT_ENDPOINT,
            "verify": env.get("SSL_CERT_FILE") or True,
        }
        found.update(settings)
        if not found["token"]:
            raise UsageError("no token: set DIGITALOCEAN_TOKEN or DIGITALOCEAN_ACCESS_TOKEN, or give token=")
        return cls(**found)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(endpoint={self.endpoint!r})"

    def _request_for(
        self,
        operation: Operation[Any],
        names: tuple[str, ...],
        call: Call,
        body: Any,
        query: Mapping[str, Any] | None,
    ) -> Request:
        return self._make_request(operation.method, path_of(operation.path, names), call, body, query)

    def _make_request(
        self, method: str, path: str, call: Call, body: Any, query: Mapping[str, Any] | None
    ) -> Request:
        headers = {**self._headers, "authorization": f"Bearer {self._token.reveal()}"}
        content = None
        if body is not None:
            headers["content-type"] = "application/json"
            content = json.dumps(body, default=plain).encode()
        if "headers" in call:
            headers.update(lower(call["headers"]))
        if "params" in call:
            query = {**(query or {}), **call["params"]}
        url = self.endpoint + path
        if query:
            asked = {name: _in_query(value) for name, value in query.items() if value is not None}
            if asked:
                url += ("&" if "?" in path else "?") + query_of(asked)
        limits = timeouts_of(call["timeout"]) if "timeout" in call else self._timeout
        return Request(method, url, headers, content, limits)

    def _record_rate_limit(self, headers: Mapping[str, str]) -> None:
        remaining = headers.get("ratelimit-remaining")
        if remaining is not None:
            try:
                limit, reset = headers.get("ratelimit-limit", "0"), headers.get("ratelimit-reset", "0")
                self.rate_limit = RateLimit(int(limit), int(remaining), int(reset))
            except ValueError:
                pass  # a proxy's idea of these headers; what was known before stays

    def _value(self, answer: Response, operation: Operation[T]) -> T:
        """Return what a successful answer holds; raise the error that any other one stands for."""
        self._raise_for_status(answer)
        if not operation.answers:
            return None  # type: ignore[return-value]
        value = self._decode(answer)
        if not isinstance(value, dict):
            raise self._unreadable(answer, "the body is not a JSON object")
        return value  # type: ignore[return-value]

    def _raise_for_status(self, answer: Response) -> None:
        if not 200 <= answer.status_code < 300:
            pause = parse_retry_after(answer.headers.get("retry-after"))
            raise error_of(
                answer.status_code,
                answer.headers,
                answer.content,
                retry_after=pause,
                token=self._token.reveal(),
            )

    def _decode(self, answer: Response) -> Any:
        try:
            return decoded(answer.content)
        except ValueError:
            what = "the body is not JSON" if answer.content else "the body is empty"
            raise self._unreadable(answer, what) from None

    def _unreadable(self, answer: Response, what: str) -> AnswerError:
        kind = answer.headers.get("content-type", "no content type")
        message = f"{what} ({len(answer.content)} bytes, {kind})"
        request_id = answer.headers.get("x-request-id", "")
        message, request_id = (redacted(text, self._token.reveal()) for text in (message, request_id))
        return AnswerError(answer.status_code, "unreadable_answer", message, request_id or None)


def checked_token(token: str) -> str:
    token = token.strip()
    if not token:
        raise UsageError("the token is empty")
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise UsageError("the token has a character that an HTTP header cannot carry")
    return token


def checked_endpoint(endpoint: str, allow_plain_http: bool) -> str:
    try:
        parts = urlsplit(endpoint)
        understood = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0
    except ValueError:
        understood = False
    if not understood:
        raise UsageError("the endpoint must be an address such as https://api.example.com")
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError("the endpoint must have no user, query or fragment in it")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and not allow_plain_http:
        raise UsageError(
            f"plain HTTP would show the token to everyone between here and {parts.hostname}; "
            "use https, or allow it with allow_plain_http=True"
        )
    return endpoint.rstrip("/")


def timeouts_of(timeout: Timeout) -> dict[str, float | None]:
    """Return the limits as httpx's transports take them, one for each of connect, read, write and pool."""
    if timeout is None or isinstance(timeout, int | float):
        return {"connect": timeout, "read": timeout, "write": timeout, "pool": timeout}
    if isinstance(timeout, tuple):
        return dict(zip(("connect", "read", "write", "pool"), timeout, strict=True))
    return dict(timeout.as_dict())


def path_of(template: str, names: tuple[object, ...]) -> str:
    """Return the path with the names in it, escaped.

    An empty name, ``.`` or ``..`` would make the path that of another operation: deleting the pool ``..``
    would delete its cluster.
    """
    escaped = []
    for name in names:
        text = str(name)
        if name is None or text in ("", ".", ".."):
            raise UsageError(f"{text!r} is no name that can stand in {template}")
        try:
            escaped.append(quote(text, safe=""))
        except UnicodeEncodeError:
            raise UsageError(f"{text!r} is no name that can stand in {template}") from None
    return template.format(*escaped)


def query_of(asked: Mapping[str, Any]) -> str:
    try:
        return urlencode(asked, doseq=True, quote_via=quote)
    except UnicodeEncodeError:
        raise UsageError("the query has half a character in it") from None


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with their names in lower case, so that the same name in another case replaces."""
    return {name.lower(): value for name, value in headers.items()}


def plain(value: object) -> str:
    """Return what JSON has no form for, as the service takes it."""
    from datetime import date, datetime, time
    from uuid import UUID

    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot stand in a body")


def _in_query(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
