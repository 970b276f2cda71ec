"""A typed client, sync and asyncio, for the DigitalOcean Databases API and for Cenote.

    from cenote_client import Client

    with Client.from_env() as client:
        pool = client.databases.get_connection_pool("9cc10173-…", "backend-pool")["pool"]

Importing this package is cheap: the HTTP library is imported by the first call, the asyncio client when it is
first used, the types never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._base import VERSION, RateLimit
from ._retry import Retry
from ._sync.client import Client
from .errors import (
    AnswerError,
    APIError,
    AuthenticationError,
    BadRequestError,
    BusyError,
    CenoteError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NetworkError,
    NetworkTimeoutError,
    NotFoundError,
    RateLimitError,
    ServerError,
    UsageError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from ._async.client import AsyncClient

__version__ = VERSION

__all__ = [
    "APIError",
    "AnswerError",
    "AsyncClient",
    "AuthenticationError",
    "BadRequestError",
    "BusyError",
    "CenoteError",
    "Client",
    "ConflictError",
    "ForbiddenError",
    "InvalidError",
    "NetworkError",
    "NetworkTimeoutError",
    "NotFoundError",
    "RateLimit",
    "RateLimitError",
    "Retry",
    "ServerError",
    "UsageError",
    "WaitTimeoutError",
]


def __getattr__(name: str) -> Any:
    if name == "AsyncClient":
        from ._async.client import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
