"""The way through httpx, for what httpcore alone does not do: proxies, and transports of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._base import UNSENDABLE
from ._response import make_response
from .errors import UsageError

if TYPE_CHECKING:
    import httpx

    from ._base import Request
    from ._response import Response


class HttpxAdapter:
    """Requests and answers of httpx; ``transport`` is one of its transports.

    httpx's own client is left out.  What it would add is not wanted here: cookies, and redirects (a token
    must not follow an address that an answer chose).
    """

    def __init__(self, transport: Any) -> None:
        import httpx

        self.transport = transport
        self.library = httpx
        self.errors: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)

    def build_request(self, request: Request) -> httpx.Request:
        import httpx

        method, url, headers, content, limits = request
        try:
            return httpx.Request(
                method, url, headers=headers, content=content, extensions={"timeout": limits}
            )
        except UnicodeEncodeError:
            raise UsageError(UNSENDABLE) from None

    def read_response(self, answer: httpx.Response, content: bytes) -> Response:
        return make_response(answer.status_code, answer.headers.raw, answer.extensions, content)
