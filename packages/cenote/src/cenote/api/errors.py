"""Error responses: ``{"id", "message", "request_id"}`` and a status code.

An unexpected exception is only logged, by type and place: its message could contain a password.
"""

from __future__ import annotations

import logging
import traceback

import msgspec

from cenote.errors import (
    Busy,
    CenoteError,
    Conflict,
    Forbidden,
    Invalid,
    Malformed,
    NotFound,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from cenote.http.routing import HTTPException, Response

log = logging.getLogger(__name__)


class TooLarge(CenoteError):
    """The request body exceeds the size limit."""


class ErrorView(msgspec.Struct, omit_defaults=True):
    """An error: ``id`` is machine-readable, and ``request_id`` identifies the request in the log."""

    id: str
    message: str
    request_id: str = ""


STATUS: dict[type[CenoteError], int] = {
    Malformed: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Busy: 412,
    TooLarge: 413,
    Invalid: 422,
    TooManyRequests: 429,
    Unavailable: 503,
}

IDS = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    412: "precondition_failed",
    413: "request_entity_too_large",
    422: "unprocessable_entity",
    429: "too_many_requests",
    500: "server_error",
    503: "service_unavailable",
}

_MESSAGES = {
    404: NotFound().message,
    405: "The method is not allowed for this resource.",
    413: "The request body is too large.",
    500: "Unexpected server-side error",
}


def error_response(error: Exception, request_id: str) -> Response:
    """Return the response to an exception; log an unexpected one."""
    headers: dict[str, str] = {}
    message = ""
    if isinstance(error, CenoteError):
        status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
        message = error.message
        if isinstance(error, TooManyRequests | Unavailable) and error.retry_after is not None:
            headers["retry-after"] = str(error.retry_after)
    elif isinstance(error, HTTPException):  # raised by routing: unknown path, method not allowed, …
        status = error.status_code
        message = _MESSAGES.get(status, error.detail)
        headers.update(error.headers or {})
    else:
        status = 500
    if status == 500:
        message = _MESSAGES[500]
        where = " < ".join(
            f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}"
            for frame in reversed(traceback.extract_tb(error.__traceback__)[-6:])
        )
        log.error("request %s failed: %s in %s", request_id, type(error).__name__, where)
    body = msgspec.json.encode(ErrorView(IDS.get(status, "error"), message, request_id))
    return Response(body, status, headers.items())
