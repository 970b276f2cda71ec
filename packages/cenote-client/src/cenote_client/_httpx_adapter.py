"""Adapter for httpx transports, for what httpcore alone does not do: proxies, and custom transports."""

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
    """Converts requests and responses; ``transport`` is a transport of httpx.

    ``httpx.Client`` is not used, because it adds cookies, and redirects, with which a response could send the
    token to another host.
    """

    def __init__(self, transport: Any) -> None:
        import httpx

        self.transport = transport
        self.library = httpx
        self.errors: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)

    def build_request(self, request: Request) -> httpx.Request:
        import httpx

        method, url, headers, content, timeouts = request
        try:
            return httpx.Request(
                method, url, headers=headers, content=content, extensions={"timeout": timeouts}
            )
        except UnicodeEncodeError:
            raise UsageError(UNSENDABLE) from None

    def read_response(self, response: httpx.Response, content: bytes) -> Response:
        return make_response(response.status_code, response.headers.raw, response.extensions, content)
