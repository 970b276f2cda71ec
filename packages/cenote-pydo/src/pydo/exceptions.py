"""The exceptions of pydo under their official names.

The official package takes them from azure-core.  These have the same attributes and messages, and each is
also a ``cenote_client.CenoteError``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cenote_client import CenoteError
from cenote_client._secret import redacted

if TYPE_CHECKING:
    from ._response import Response

LONGEST_TEXT = 2048


class AzureError(CenoteError):
    """Base of all errors; ``message`` is its text, ``inner_exception`` the cause."""

    def __init__(self, message: object = None, *args: Any, error: BaseException | None = None) -> None:
        super().__init__(str(message), *args)
        self.message: str = str(message)
        self.inner_exception: BaseException | None = error


class ServiceRequestError(AzureError):
    """The service could not be reached; nothing was sent."""


class ServiceRequestTimeoutError(ServiceRequestError):
    """Connecting took longer than the timeout."""


class ServiceResponseError(AzureError):
    """The request was sent, but no complete response was received."""


class ServiceResponseTimeoutError(ServiceResponseError):
    """The response took longer than the timeout."""


class ErrorBody:
    """The parsed body of an error: ``code``, ``message``, ``target``, ``details``, ``innererror``."""

    def __init__(self, fields: Any) -> None:
        if "error" in fields:
            fields = fields["error"]
        self.code: Any = fields.get("code")
        self.message: Any = fields.get("message")
        if not (self.code or self.message):
            raise ValueError("neither a code nor a message")
        self.target: Any = fields.get("target")
        self.innererror: Any = fields.get("innererror", {})
        self.details: list[ErrorBody] = []
        for detail in fields.get("details") or []:
            try:
                self.details.append(ErrorBody(detail))
            except (ValueError, TypeError, AttributeError, RecursionError):
                continue

    def __str__(self) -> str:
        return f"({self.code}) {self.message}\n{self.message_details()}"

    def message_details(self) -> str:
        text = f"Code: {self.code}\nMessage: {self.message}"
        if self.target:
            text += f"\nTarget: {self.target}"
        if self.details:
            text += "\nException Details:"
            for detail in self.details:
                text += "\n".join("\t" + line for line in str(detail).splitlines())
        if self.innererror:
            text += f"\nInner error: {json.dumps(self.innererror, indent=4)}"
        return text


class HttpResponseError(AzureError):
    """The service returned a status that is not a success of the operation.

    ``status_code``, ``reason`` and ``response`` are those of the HTTP response, ``error`` is its parsed body.
    Beyond the official package, ``id`` and ``request_id`` are those of the body.
    """

    def __init__(self, message: object = None, response: Response | None = None, **kwargs: Any) -> None:
        self.response: Response | None = response
        self.status_code: int | None = response.status_code if response else None
        self.reason: str | None = response.reason if response else None
        self.model: Any = kwargs.get("model")
        fields = _fields_of(response) if response else {}
        self.error: ErrorBody | None = _error_of(fields)
        self.id: str | None = _text(fields.get("id"))
        self.request_id: str | None = _text(fields.get("request_id"))
        if response and not self.request_id:
            self.request_id = response.headers.get("x-request-id")
        if self.error:
            message = redacted(str(self.error), response.token if response else "")
        super().__init__(
            message or f"Operation returned an invalid status '{self.reason}'", error=kwargs.get("error")
        )

    def __str__(self) -> str:
        response = self.response
        # An unexpected success may contain the operation's result, with passwords.
        if response is None or self.error or response.status_code < 400 or not response.text():
            return self.message
        content = redacted(response.text(), response.token)
        return f"{self.message}\nContent: {content}"[:LONGEST_TEXT]


class DecodeError(HttpResponseError):
    """The body of a response cannot be parsed."""


class IncompleteReadError(DecodeError):
    """Never raised; a truncated response raises ServiceResponseError instead."""


class ResourceExistsError(HttpResponseError):
    """409: the resource exists already."""


class ResourceNotFoundError(HttpResponseError):
    """404 with ``Client(raise_not_found=True)``; otherwise the body of a 404 is returned."""


class ClientAuthenticationError(HttpResponseError):
    """401: the token is missing, invalid or expired."""


class ResourceModifiedError(HttpResponseError):
    """Never raised: no operation is conditional."""


class ResourceNotModifiedError(HttpResponseError):
    """304: not modified."""


def _fields_of(response: Response) -> dict[str, Any]:
    try:
        fields = json.loads(response.text())
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _error_of(fields: dict[str, Any]) -> ErrorBody | None:
    try:
        return ErrorBody(fields)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
