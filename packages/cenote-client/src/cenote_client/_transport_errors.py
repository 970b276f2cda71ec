"""Maps exceptions of httpx and httpcore to those of the client.

Both libraries use the same names; ``library`` is the one that raised the exception.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from ._base import UNSENDABLE
from .errors import CenoteError, NetworkError, NetworkTimeoutError, UsageError

if TYPE_CHECKING:
    from types import ModuleType


def as_client_error(error: Exception, library: ModuleType) -> CenoteError:
    """Return the client's error for a transport error; its text contains nothing of the request."""
    if isinstance(error, library.TimeoutException):
        what = "connecting took" if isinstance(error, library.ConnectTimeout) else "the response took"
        return NetworkTimeoutError(f"{what} longer than the timeout", may_have_been_sent(error, library))
    if _is_unsendable(error, library):
        return UsageError(UNSENDABLE)
    if isinstance(error, library.ConnectError | library.ProxyError):
        return NetworkError(f"no connection: {error}", reached=False)
    return NetworkError(f"the connection was lost: {error or type(error).__name__}")


def may_have_been_sent(error: Exception, library: ModuleType) -> bool:
    """Return whether the service may have received the request."""
    never_sent = (library.ConnectError, library.ConnectTimeout, library.PoolTimeout, library.ProxyError)
    return not isinstance(error, never_sent)


def is_permanent(error: Exception, library: ModuleType) -> bool:
    """Return whether a retry is useless: the certificate is not trusted, or the request is invalid."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return True
        seen = seen.__cause__ or seen.__context__
    return _is_unsendable(error, library)


def _is_unsendable(error: Exception, library: Any) -> bool:
    kinds = (library.LocalProtocolError, library.UnsupportedProtocol)
    return isinstance(error, kinds) or type(error).__name__ == "InvalidURL"  # defined by httpx only
