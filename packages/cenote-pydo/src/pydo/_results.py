"""Which responses pydo returns and which it raises.

Only the status in the reference is a success.  The body of a 404 is returned, and that of a few other errors
that the official package has a model for; every other status is raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cenote_client import AnswerError, NetworkError, NetworkTimeoutError

from . import exceptions as e
from ._response import PipelineResponse, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cenote_client._operations import Operation

RAISED: dict[int, type[e.HttpResponseError]] = {
    304: e.ResourceNotModifiedError,
    401: e.ClientAuthenticationError,
    404: e.ResourceNotFoundError,
    409: e.ResourceExistsError,
}
# Error statuses whose body is returned, where it is not 404 alone.
RETURNED: dict[tuple[str, str], tuple[int, ...]] = {
    ("PUT", "/v2/databases/{}/do_settings"): (400, 404, 422),
    ("PUT", "/v2/databases/{}/users/{}"): (404, 422),
    ("PUT", "/v2/databases/{}/autoscale"): (404, 422),
    ("PUT", "/v2/databases/metrics/credentials"): (),
}
LIMITS = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")


def result_of(
    response: Response, operation: Operation[Any], options: Mapping[str, Any], raise_not_found: bool
) -> Any:
    status = response.status_code
    returned = RETURNED.get((operation.method, operation.path), (404,))
    if raise_not_found:
        returned = ()
    if status != operation.success and status not in returned:
        errors = {**RAISED, **(options.get("error_map") or {})}
        raise errors.get(status, e.HttpResponseError)(response=response)
    value = None
    if response.content and (operation.returns_body or status != operation.success):
        try:
            value = response.json()
        except (ValueError, RecursionError) as error:
            raise e.DecodeError(f"JSON is invalid: {error}", response=response) from None
    callback = options.get("cls")
    return callback(PipelineResponse(response), value, rate_limits(response.headers)) if callback else value


def required_body(response: Response, operation: Operation[Any]) -> dict[str, Any]:
    """Return the body of a success, for further processing; raise every other response, 404 too."""
    value = result_of(response, operation, {}, raise_not_found=True)
    if not isinstance(value, dict):
        raise e.DecodeError("the body is not a JSON object", response=response)
    return value


def azure_error(error: NetworkError | AnswerError) -> e.AzureError:
    """Return pydo's error for a missing response, or one that cannot be decompressed."""
    if isinstance(error, AnswerError):
        unreadable = e.DecodeError(error.message, error=error)
        unreadable.status_code = error.status
        return unreadable
    if isinstance(error, NetworkTimeoutError):
        kind = e.ServiceResponseTimeoutError if error.reached else e.ServiceRequestTimeoutError
        return kind(str(error), error=error)
    return (e.ServiceResponseError if error.reached else e.ServiceRequestError)(str(error), error=error)


def rate_limits(headers: Mapping[str, str]) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for name in LIMITS:
        try:
            found[name] = int(headers.get(name, ""))
        except ValueError:
            found[name] = None
    return found
