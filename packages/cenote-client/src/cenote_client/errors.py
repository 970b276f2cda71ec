"""Everything that a call can raise, and how an answer becomes one of these.

All of it is a ``CenoteError``, so one ``except`` is enough.  What the service refused is an ``APIError`` with
the status, the id and the message that it sent; what never reached the service, or never came back, is a
``NetworkError``; what this library would not even try is a ``UsageError``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ._secret import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_QUOTE = 200  # characters of a body that is not ours to understand


class CenoteError(Exception):
    """The base of every error that this library raises."""


class UsageError(CenoteError, ValueError):
    """The call was not made, because it could not be meant: no token, an empty name, plain HTTP to another
    machine.
    """


class NetworkError(CenoteError, ConnectionError):
    """The service could not be reached, or the connection was lost before its whole answer was read.

    ``reached`` is False when the request was certainly never sent; otherwise it may have taken effect.
    """

    def __init__(self, message: str, reached: bool = True) -> None:
        super().__init__(message)
        self.reached = reached

    def __reduce__(self) -> tuple[type[NetworkError], tuple[str, bool]]:
        return type(self), (str(self), self.reached)


class NetworkTimeoutError(NetworkError, TimeoutError):
    """The service did not take the connection, or did not answer, within the timeout."""


class WaitTimeoutError(CenoteError, TimeoutError):
    """What was waited for did not happen in the given time; ``last`` is what was seen last."""

    def __init__(self, message: str, last: Any = None) -> None:
        super().__init__(message, last)
        self.last = last

    def __str__(self) -> str:
        return str(self.args[0])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.args[0]!r})"


class APIError(CenoteError):
    """The service answered with an error.

    ``status`` is the HTTP status, ``id`` the short name of the error (``not_found``), ``message`` the
    sentence for people, ``request_id`` what the operator of the service wants to hear, or None.
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
    """400: the request makes no sense to the service."""


class AuthenticationError(APIError):
    """401: the token is missing, unknown or expired."""


class ForbiddenError(APIError):
    """403: the token is good, but its scopes do not allow this."""


class NotFoundError(APIError):
    """404: the cluster, or the thing in it, is not there."""


class ConflictError(APIError):
    """409: it clashes with what is there, a name that is taken for one."""


class BusyError(APIError):
    """412: not now; the cluster is being created, changed or maintained.  Try again later."""


class InvalidError(APIError):
    """422: understood, but not allowed: a name, a size, a version, a limit."""


class RateLimitError(APIError):
    """429: too many calls.  ``retry_after`` is in seconds, None when the service did not say."""

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
    """5xx: the service failed, or what stands in front of it did.  ``retry_after`` as with RateLimitError."""

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
    """The status says that all went well, but the body is not what the operation returns."""


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
    """Return what the JSON text stands for; ValueError for anything that is not JSON."""
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
    """Return the error that an answer stands for, whatever its body is."""
    from http.client import responses as reasons  # slow to import, and needed here only

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
        message = f"redirected to {headers['location']}, which is not followed: is the endpoint right?"
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
    """Return a readable piece of a body that is no JSON error: an HTML page of a proxy, a line of text."""
    kind = headers.get("content-type", "").partition(";")[0].strip()
    if not content.strip() or "html" in kind:
        return ""
    text = " ".join(content.decode("utf-8", "replace").split())
    return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + " …"
