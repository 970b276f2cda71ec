"""The only door to httpx, which is imported with the first call: that is most of what a short script waits
for.

Its transports are used without its client on top.  What that would add is not wanted here: cookies, redirects
(a token must not follow an address that an answer chose), and 50 µs a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ._base import LOOPBACK
from .errors import AnswerError, CenoteError, NetworkError, NetworkTimeoutError, UsageError

if TYPE_CHECKING:
    import os
    import ssl

    import httpx

    from ._base import Request

    Verify = bool | str | os.PathLike[str] | ssl.SSLContext

KEPT_SECONDS = 4.0  # uvicorn closes an idle connection after 5 s; a call must not meet that moment
UNSENDABLE = "the request cannot be sent: HTTP forbids a character in a header or in the address"


def async_transport(endpoint: str, verify: Verify, proxy: Any) -> httpx.AsyncBaseTransport:
    import httpx

    return httpx.AsyncHTTPTransport(**_settings(endpoint, verify, proxy))


def transport(endpoint: str, verify: Verify, proxy: Any) -> httpx.BaseTransport:
    import httpx

    return httpx.HTTPTransport(**_settings(endpoint, verify, proxy))


def _settings(endpoint: str, verify: Verify, proxy: Any) -> dict[str, Any]:
    import httpx

    proxy = proxy or proxy_for(endpoint)
    try:
        chosen = httpx.Proxy(proxy) if isinstance(proxy, str) else proxy
    except (ValueError, httpx.InvalidURL):
        raise UsageError("the address of the proxy is none that can be used") from None
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=KEPT_SECONDS)
    return {"verify": trusted(endpoint, verify), "proxy": chosen, "limits": limits}


def proxy_for(endpoint: str) -> str | None:
    """Return the proxy that the environment names for the endpoint (``HTTPS_PROXY`` and its kin)."""
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    parts = urlsplit(endpoint)
    if not proxies or parts.hostname in LOOPBACK or proxy_bypass(parts.netloc):
        return None
    found = proxies.get(parts.scheme) or proxies.get("all")
    return f"http://{found}" if found and "://" not in found else found


def request_of(request: Request) -> httpx.Request:
    import httpx

    method, url, headers, content, limits = request
    try:
        return httpx.Request(method, url, headers=headers, content=content, extensions={"timeout": limits})
    except UnicodeEncodeError:
        raise UsageError(UNSENDABLE) from None


def trusted(endpoint: str, verify: Verify) -> bool | ssl.SSLContext:
    if verify is True or verify is False:
        # Reading the system's certificates takes 20 ms that a call without TLS has no use for.
        return verify and not endpoint.startswith("http://")
    import ssl

    if isinstance(verify, ssl.SSLContext):
        return verify
    try:
        return ssl.create_default_context(cafile=str(verify))
    except OSError as error:
        raise UsageError(f"no certificates could be read from {verify}: {error.strerror}") from None


def without_body(answer: httpx.Response) -> httpx.Response:
    """Return the answer, which is an error, without the body that could not be decompressed."""
    import httpx

    if answer.status_code < 400:
        raise AnswerError(
            answer.status_code, "unreadable_answer", "the body does not match its content-encoding"
        ) from None
    # As bytes, since what a header holds need not be ASCII.
    headers = [
        (name, value) for name, value in answer.headers.raw if not name.lower().startswith(b"content-")
    ]
    return httpx.Response(answer.status_code, headers=headers)


def undecodable() -> type[Exception]:
    import httpx

    return httpx.DecodingError


def log_repeat(request: Request, reason: str, wait: float) -> None:
    """Say that a call is made again; of its address only the path, since a query may hold anything."""
    import logging

    logging.getLogger("cenote_client").info(
        "%s %s: %s; again in %.1f s", request.method, urlsplit(request.url).path, reason, wait
    )


def failures() -> tuple[type[Exception], ...]:
    import httpx

    return (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)


def as_ours(error: Exception) -> CenoteError:
    """Return our error for one of httpx; its text says what went wrong, and shows nothing of the request."""
    import httpx

    if isinstance(error, httpx.TimeoutException):
        what = "connecting took" if isinstance(error, httpx.ConnectTimeout) else "the answer took"
        return NetworkTimeoutError(f"{what} longer than the timeout", was_reached(error))
    if isinstance(error, httpx.LocalProtocolError | httpx.InvalidURL | httpx.UnsupportedProtocol):
        return UsageError(UNSENDABLE)
    if isinstance(error, httpx.ConnectError | httpx.ProxyError):
        return NetworkError(f"no connection: {error}", reached=False)
    return NetworkError(f"the connection was lost: {error or type(error).__name__}")


def was_reached(error: Exception) -> bool:
    """Whether the service may have seen the request before it failed."""
    import httpx

    never_sent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
    return not isinstance(error, never_sent)


def is_lasting(error: Exception) -> bool:
    """Whether trying again cannot help: a certificate that is not trusted, a request that cannot be sent."""
    import ssl

    import httpx

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return True
        seen = seen.__cause__ or seen.__context__
    return not isinstance(error, httpx.TransportError) or isinstance(
        error, httpx.LocalProtocolError | httpx.UnsupportedProtocol
    )
