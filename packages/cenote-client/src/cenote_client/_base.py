"""Base of the sync and the asyncio client: builds requests and parses responses, without I/O.

The token leaves its Secret only for the headers of a request, and to be redacted from error messages.
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
VERSION = "0.2.0"
USER_AGENT = f"cenote-client/{VERSION}"
UNSENDABLE = "the request cannot be sent: a header or the URL contains a character that HTTP does not allow"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class RateLimit(NamedTuple):
    """The hourly rate limit; ``reset`` is the Unix time at which the oldest call stops counting."""

    limit: int
    remaining: int
    reset: int


class Request(NamedTuple):
    """A request that can be sent repeatedly."""

    method: str
    url: str
    headers: dict[str, str]
    content: bytes | None
    timeouts: dict[str, float | None]

    def __repr__(self) -> str:
        return f"<Request: {self.method} {urlsplit(self.url).path}>"  # the headers hold the token


class BaseClient:
    """Settings of a client, and what follows from them for requests and responses."""

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
        self._headers.update(lowercase_names(headers or {}))
        self._opening = threading.Lock()
        self._closed = False

    @classmethod
    def from_env(cls, **settings: Any) -> Self:
        """Return a client configured from environment variables.

        These are ``DIGITALOCEAN_TOKEN`` (or ``DIGITALOCEAN_ACCESS_TOKEN``), ``DIGITALOCEAN_API_URL`` and
        ``SSL_CERT_FILE``, a file of CA certificates.  ``settings`` are arguments of the class and take
        precedence.  Raises UsageError if there is no token.
        """
        env = os.environ
        found: dict[str, Any] = {
            "token": env.get("DIGITALOCEAN_TOKEN") or env.get("DIGITALOCEAN_ACCESS_TOKEN") or "",
            "endpoint": env.get("DIGITALOCEAN_API_URL") or DEFAULT_ENDPOINT,
            "verify": env.get("SSL_CERT_FILE") or True,
        }
        found.update(settings)
        if not found["token"]:
            raise UsageError("no token: set DIGITALOCEAN_TOKEN or DIGITALOCEAN_ACCESS_TOKEN, or pass token=")
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
        return self._make_request(operation.method, format_path(operation.path, names), call, body, query)

    def _make_request(
        self, method: str, path: str, call: Call, body: Any, query: Mapping[str, Any] | None
    ) -> Request:
        headers = {**self._headers, "authorization": f"Bearer {self._token.reveal()}"}
        content = None
        if body is not None:
            headers["content-type"] = "application/json"
            content = json.dumps(body, default=json_default).encode()
        if "headers" in call:
            headers.update(lowercase_names(call["headers"]))
        if "params" in call:
            query = {**(query or {}), **call["params"]}
        url = self.endpoint + path
        if query:
            given = {name: _in_query(value) for name, value in query.items() if value is not None}
            if given:
                url += ("&" if "?" in path else "?") + encode_query(given)
        timeouts = timeouts_of(call["timeout"]) if "timeout" in call else self._timeout
        return Request(method, url, headers, content, timeouts)

    def _record_rate_limit(self, headers: Mapping[str, str]) -> None:
        remaining = headers.get("ratelimit-remaining")
        if remaining is not None:
            try:
                limit, reset = headers.get("ratelimit-limit", "0"), headers.get("ratelimit-reset", "0")
                self.rate_limit = RateLimit(int(limit), int(remaining), int(reset))
            except ValueError:
                pass  # set by a proxy; keep the last valid limit

    def _parse(self, response: Response, operation: Operation[T]) -> T:
        """Return the parsed body of a successful response; raise the matching error for any other."""
        self._raise_for_status(response)
        if not operation.returns_body:
            return None  # type: ignore[return-value]
        value = self._decode(response)
        if not isinstance(value, dict):
            raise self._unreadable(response, "the body is not a JSON object")
        return value  # type: ignore[return-value]

    def _raise_for_status(self, response: Response) -> None:
        if not 200 <= response.status_code < 300:
            pause = parse_retry_after(response.headers.get("retry-after"))
            raise error_of(
                response.status_code,
                response.headers,
                response.content,
                retry_after=pause,
                token=self._token.reveal(),
            )

    def _decode(self, response: Response) -> Any:
        try:
            return decoded(response.content)
        except ValueError:
            what = "the body is not JSON" if response.content else "the body is empty"
            raise self._unreadable(response, what) from None

    def _unreadable(self, response: Response, what: str) -> AnswerError:
        kind = response.headers.get("content-type", "no content type")
        message = f"{what} ({len(response.content)} bytes, {kind})"
        request_id = response.headers.get("x-request-id", "")
        message, request_id = (redacted(text, self._token.reveal()) for text in (message, request_id))
        return AnswerError(response.status_code, "unreadable_answer", message, request_id or None)


def checked_token(token: str) -> str:
    token = token.strip()
    if not token:
        raise UsageError("the token is empty")
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise UsageError("the token contains a character that is not allowed in an HTTP header")
    return token


def checked_endpoint(endpoint: str, allow_plain_http: bool) -> str:
    try:
        parts = urlsplit(endpoint)
        understood = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0
    except ValueError:
        understood = False
    if not understood:
        raise UsageError("the endpoint must be a URL such as https://api.example.com")
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError("the endpoint must not contain a user, query or fragment")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and not allow_plain_http:
        raise UsageError(
            f"plain HTTP would send the token unencrypted to {parts.hostname}; "
            "use https, or allow it with allow_plain_http=True"
        )
    return endpoint.rstrip("/")


def timeouts_of(timeout: Timeout) -> dict[str, float | None]:
    """Return the timeouts as httpx's transports take them: for connect, read, write and pool."""
    if timeout is None or isinstance(timeout, int | float):
        return {"connect": timeout, "read": timeout, "write": timeout, "pool": timeout}
    if isinstance(timeout, tuple):
        return dict(zip(("connect", "read", "write", "pool"), timeout, strict=True))
    return dict(timeout.as_dict())


def format_path(template: str, names: tuple[object, ...]) -> str:
    """Return the path with the escaped names filled in.

    Rejects an empty name, ``.`` and ``..``, which would select another operation: deleting the pool ``..``
    would delete its cluster.
    """
    escaped = []
    for name in names:
        text = str(name)
        if name is None or text in ("", ".", ".."):
            raise UsageError(f"{text!r} is not a valid name in {template}")
        try:
            escaped.append(quote(text, safe=""))
        except UnicodeEncodeError:
            raise UsageError(f"{text!r} is not a valid name in {template}") from None
    return template.format(*escaped)


def encode_query(given: Mapping[str, Any]) -> str:
    try:
        return urlencode(given, doseq=True, quote_via=quote)
    except UnicodeEncodeError:
        raise UsageError("the query contains half of a surrogate pair") from None


def lowercase_names(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with lower-case names, so that an override need not match in case."""
    return {name.lower(): value for name, value in headers.items()}


def json_default(value: object) -> str:
    """Serialize dates, times and UUIDs, which JSON has no type for."""
    from datetime import date, datetime, time
    from uuid import UUID

    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be serialized to JSON")


def _in_query(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
