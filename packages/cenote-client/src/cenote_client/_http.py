"""The only door to httpx, which is imported when the first call is made: it is most of the time a script waits.

Redirects are not followed, since a token must not be carried to an address that the answer chose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import AnswerError, CenoteError, NetworkError, NetworkTimeoutError, UsageError

if TYPE_CHECKING:
    import os
    import ssl

    import httpx


def settings(
    endpoint: str, verify: bool | str | os.PathLike[str] | ssl.SSLContext, proxy: Any, transport: Any
) -> dict[str, Any]:
    """Return the arguments for ``httpx.Client`` and ``httpx.AsyncClient`` alike."""
    chosen: dict[str, Any] = {"verify": trusted(endpoint, verify), "follow_redirects": False}
    if proxy is not None:
        chosen["proxy"] = proxy
    if transport is not None:
        chosen["transport"] = transport
    return chosen


def trusted(endpoint: str, verify: bool | str | os.PathLike[str] | ssl.SSLContext) -> bool | ssl.SSLContext:
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


def failures() -> tuple[type[Exception], ...]:
    import httpx

    return (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)


def as_ours(error: Exception) -> CenoteError:
    """Return our error for one of httpx; its text says what went wrong, and shows nothing of the request."""
    import httpx

    if isinstance(error, httpx.TimeoutException):
        what = "connecting took" if isinstance(error, httpx.ConnectTimeout) else "the answer took"
        return NetworkTimeoutError(f"{what} longer than the timeout", was_reached(error))
    if isinstance(error, httpx.DecodingError):
        return AnswerError(200, "unreadable_answer", "the body does not match its content-encoding")
    if isinstance(error, httpx.LocalProtocolError | httpx.InvalidURL | httpx.UnsupportedProtocol):
        return UsageError("the request cannot be sent: a header or the address has a character that HTTP forbids")
    if isinstance(error, httpx.ConnectError | httpx.ProxyError):
        return NetworkError(f"no connection: {error}", reached=False)
    return NetworkError(f"the connection was lost: {error or type(error).__name__}")


def was_reached(error: Exception) -> bool:
    """Whether the service may have seen the request before it failed."""
    import httpx

    return not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError)


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
