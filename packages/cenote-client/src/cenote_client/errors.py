"""Errors that a call can raise; all are a ``CenoteError``.

``APIError``: the service returned an error, with status, id and message.  ``NetworkError``: there was no
complete response.  ``UsageError``: the call was invalid, and nothing was sent.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ._secret import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_QUOTE = 200  # characters of a body that is not JSON


class CenoteError(Exception):
    """Base of all errors of this library."""


class UsageError(CenoteError, ValueError):
    """The call was invalid and not sent: no token, an empty name, plain HTTP to another machine."""


class NetworkError(CenoteError, ConnectionError):
    """The service could not be reached, or the connection was lost before the end of the response.

    ``reached`` is False if the request was certainly not sent; otherwise it may have taken effect.
    """

    def __init__(self, message: str, reached: bool = True) -> None:
        super().__init__(message)
        self.reached = reached

    def __reduce__(self) -> tuple[type[NetworkError], tuple[str, bool]]:
        return type(self), (str(self), self.reached)


class NetworkTimeoutError(NetworkError, TimeoutError):
    """The connection, or the response, took longer than the timeout."""


class WaitTimeoutError(CenoteError, TimeoutError):
    """The awaited state was not reached in time; ``last`` is the last state seen."""

    def __init__(self, message: str, last: Any = None) -> None:
        super().__init__(message, last)
        self.last = last

    def __str__(self) -> str:
        return str(self.args[0])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.args[0]!r})"


class APIError(CenoteError):
    """The service returned an error.

    ``status`` is the HTTP status, ``id`` the error code (``not_found``), ``message`` its description, and
    ``request_id``, or None, identifies the request to the operator of the service.
    """

    def __init__(self, status: int, id: str, message: str, request_id: str | None = None) -> None:
        super().__init__(status, id, message, request_id)
        self.status = status
        self.id = id
        self.message = message
        self.request_id = request_id

    def __str__(self) -> str:
        request = f", request {self.request_id}" if self.request_id else ""
        return f"{self.message} ({self.status} {self.id}{request})"


class BadRequestError(APIError):
    """400: the request is malformed."""


class AuthenticationError(APIError):
    """401: the token is missing, invalid or expired."""


class ForbiddenError(APIError):
    """403: the token lacks a scope."""


class NotFoundError(APIError):
    """404: the cluster, or the resource in it, does not exist."""


class ConflictError(APIError):
    """409: conflict with the current state, for example a name in use."""


class BusyError(APIError):
    """412: the cluster is being created, changed or maintained; retry later."""


class InvalidError(APIError):
    """422: a value is not allowed: a name, size, version or limit."""


class RateLimitError(APIError):
    """429: too many requests; ``retry_after`` is in seconds, None if the service did not send it."""

    def __init__(
        self,
        status: int,
        id: str,
        message: str,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(status, id, message, request_id)
        self.args: tuple[Any, ...] = (*self.args, retry_after)
        self.retry_after = retry_after


class ServerError(APIError):
    """5xx: the service, or a proxy, failed; ``retry_after`` is in seconds, or None."""

    def __init__(
        self,
        status: int,
        id: str,
        message: str,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(status, id, message, request_id)
        self.args: tuple[Any, ...] = (*self.args, retry_after)
        self.retry_after = retry_after


class AnswerError(APIError):
    """The status is a success, but the body is not what the operation returns."""


BY_STATUS: dict[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    412: BusyError,
    422: InvalidError,
}


def decoded(content: bytes) -> Any:
    """Return the parsed JSON; ValueError if it is invalid."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def error_of(
    status: int,
    headers: Mapping[str, str],
    content: bytes,
    *,
    retry_after: float | None = None,
    token: str = "",
) -> APIError:
    """Return the error for a response with an error status, whatever its body is."""
    from http.client import responses as reasons  # slow to import, and only errors need it

    fields: dict[str, Any] = {}
    try:
        body = decoded(content)
        if isinstance(body, dict):
            fields = body
    except ValueError:
        pass
    reason = reasons.get(status, "an unknown status")
    id = _text(fields.get("id")) or reason.lower().replace(" ", "_").replace("-", "_")
    message = _text(fields.get("message")) or _quote(content, headers) or reason
    if 300 <= status < 400 and headers.get("location"):
        message = f"redirected to {headers['location']}, which is not followed; check the endpoint"
    request_id = _text(fields.get("request_id")) or headers.get("x-request-id") or None
    id, message = redacted(id, token), redacted(message, token)
    request_id = redacted(request_id, token) if request_id else None
    if status == 429:
        return RateLimitError(status, id, message, request_id, retry_after)
    if status >= 500:
        return ServerError(status, id, message, request_id, retry_after)
    return BY_STATUS.get(status, APIError)(status, id, message, request_id)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _quote(content: bytes, headers: Mapping[str, str]) -> str:
    """Return the start of a body that is not JSON, as one line; nothing of HTML, which is a proxy's page."""
    kind = headers.get("content-type", "").partition(";")[0].strip()
    if not content.strip() or "html" in kind:
        return ""
    text = " ".join(content.decode("utf-8", "replace").split())
    return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + " …"
