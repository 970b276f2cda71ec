"""What the errors of httpx and of httpcore mean; both give the same names to the same things.

``library`` is the one of the two whose error it is.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from ._base import UNSENDABLE
from .errors import CenoteError, NetworkError, NetworkTimeoutError, UsageError

if TYPE_CHECKING:
    from types import ModuleType


def as_client_error(error: Exception, library: ModuleType) -> CenoteError:
    """Return our error for one of theirs; its text says what went wrong, and shows nothing of the request."""
    if isinstance(error, library.TimeoutException):
        what = "connecting took" if isinstance(error, library.ConnectTimeout) else "the answer took"
        return NetworkTimeoutError(f"{what} longer than the timeout", may_have_been_sent(error, library))
    if _cannot_be_sent(error, library):
        return UsageError(UNSENDABLE)
    if isinstance(error, library.ConnectError | library.ProxyError):
        return NetworkError(f"no connection: {error}", reached=False)
    return NetworkError(f"the connection was lost: {error or type(error).__name__}")


def may_have_been_sent(error: Exception, library: ModuleType) -> bool:
    """Whether the service may have seen the request before it failed."""
    never_sent = (library.ConnectError, library.ConnectTimeout, library.PoolTimeout, library.ProxyError)
    return not isinstance(error, never_sent)


def is_permanent(error: Exception, library: ModuleType) -> bool:
    """Whether trying again cannot help: a certificate that is not trusted, a request that cannot be sent."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return True
        seen = seen.__cause__ or seen.__context__
    return _cannot_be_sent(error, library)


def _cannot_be_sent(error: Exception, library: Any) -> bool:
    kinds = (library.LocalProtocolError, library.UnsupportedProtocol)
    return isinstance(error, kinds) or type(error).__name__ == "InvalidURL"  # which httpx alone has
