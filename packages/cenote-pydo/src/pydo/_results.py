"""What pydo makes of an answer: which one is returned, which one is raised, and as what.

A success is exactly the status of the reference.  A 404 is returned, body and all, as are a few other errors
for which the official package has a shape; everything else is raised.
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
# Besides 404, by path: errors that come back as if they were the answer.
RETURNED: dict[tuple[str, str], tuple[int, ...]] = {
    ("PUT", "/v2/databases/{}/do_settings"): (400, 404, 422),
    ("PUT", "/v2/databases/{}/users/{}"): (404, 422),
    ("PUT", "/v2/databases/{}/autoscale"): (404, 422),
    ("PUT", "/v2/databases/metrics/credentials"): (),
}
LIMITS = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")


def outcome(
    answer: Response, operation: Operation[Any], options: Mapping[str, Any], raise_not_found: bool
) -> Any:
    status = answer.status_code
    returned = RETURNED.get((operation.method, operation.path), (404,))
    if raise_not_found:
        returned = ()
    if status != operation.success and status not in returned:
        errors = {**RAISED, **(options.get("error_map") or {})}
        raise errors.get(status, e.HttpResponseError)(response=answer)
    value = None
    if answer.content and (operation.answers or status != operation.success):
        try:
            value = answer.json()
        except (ValueError, RecursionError) as error:
            raise e.DecodeError(f"JSON is invalid: {error}", response=answer) from None
    made = options.get("cls")
    return made(PipelineResponse(answer), value, limits(answer.headers)) if made else value


def whole(answer: Response, operation: Operation[Any]) -> dict[str, Any]:
    """Return an answer that is wanted for something in it, and so has to be one; raise all others."""
    value = outcome(answer, operation, {}, raise_not_found=True)
    if not isinstance(value, dict):
        raise e.DecodeError("the body is not a JSON object", response=answer)
    return value


def service_error(error: NetworkError | AnswerError) -> e.AzureError:
    """Return pydo's error for a call that got no answer, or none that can be decompressed."""
    if isinstance(error, AnswerError):
        unreadable = e.DecodeError(error.message, error=error)
        unreadable.status_code = error.status
        return unreadable
    if isinstance(error, NetworkTimeoutError):
        kind = e.ServiceResponseTimeoutError if error.reached else e.ServiceRequestTimeoutError
        return kind(str(error), error=error)
    return (e.ServiceResponseError if error.reached else e.ServiceRequestError)(str(error), error=error)


def limits(headers: Mapping[str, str]) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for name in LIMITS:
        try:
            found[name] = int(headers.get(name, ""))
        except ValueError:
            found[name] = None
    return found
