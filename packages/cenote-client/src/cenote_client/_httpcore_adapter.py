"""Adapter for httpcore, the HTTP implementation below httpx; used unless a call needs httpx itself.

httpx takes 55 ms more CPU time to import and 150 µs more per call.  What httpcore leaves to its caller is
done here: some request headers, and decompression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from ._base import UNSENDABLE
from ._response import make_response
from .errors import UsageError

if TYPE_CHECKING:
    import httpcore

    from ._base import Request
    from ._response import Response

WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})  # send content-length even without a body (RFC 9110, 8.6)
IN_TARGET = "!$%&'()*+,-./:;=?@_~"


class HttpcoreAdapter:
    """Converts requests and responses for one service; ``transport`` is a connection pool of httpcore."""

    def __init__(self, transport: Any, endpoint: str) -> None:
        import httpcore

        parts = urlsplit(endpoint)
        self.transport = transport
        self.library = httpcore
        self.errors: tuple[type[Exception], ...] = (
            httpcore.NetworkError,
            httpcore.TimeoutException,
            httpcore.ProtocolError,
            httpcore.ProxyError,
            httpcore.UnsupportedProtocol,
        )
        self._scheme = parts.scheme.encode("ascii")
        self._host = (parts.hostname or "").encode("ascii")
        self._port = parts.port
        self._netloc = parts.netloc.encode("ascii")
        self._origin_length = len(f"{parts.scheme}://{parts.netloc}")

    def build_request(self, request: Request) -> httpcore.Request:
        import httpcore

        headers = [] if "host" in request.headers else [(b"host", self._netloc)]
        target = request.url[self._origin_length :]
        try:
            for name, value in request.headers.items():
                headers.append((name.encode("ascii"), value.encode("ascii")))
            if not target.isascii():
                target = quote(target, safe=IN_TARGET)
        except UnicodeEncodeError:
            raise UsageError(UNSENDABLE) from None
        if request.content is not None or request.method in WITH_LENGTH:
            headers.append((b"content-length", b"%d" % len(request.content or b"")))
        url = httpcore.URL(
            scheme=self._scheme, host=self._host, port=self._port, target=target.encode("ascii") or b"/"
        )
        return httpcore.Request(
            request.method.encode("latin-1"),
            url,
            headers=headers,
            content=request.content,
            extensions={"timeout": request.timeouts},
        )

    def read_response(self, response: httpcore.Response, content: bytes) -> Response:
        return make_response(response.status, response.headers, response.extensions, content)
