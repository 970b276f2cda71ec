"""Retries etcd calls for up to 10 s; the only retry loop of the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cenote.errors import Unavailable
from cenote.store.client import Compacted, EtcdError

T = TypeVar("T")

RETRY_SECONDS = 10.0  # seconds
PAUSE = 0.02


async def retrying(call: Callable[[], Awaitable[T]]) -> T:
    """Return what ``call`` returns, and retry it while etcd is unreachable; it must be idempotent.

    Raises Unavailable when etcd does not come back.  Errors that etcd itself answers with are not retried.
    """
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            return await call()
        except Unavailable as error:
            settled = isinstance(error, EtcdError) and not isinstance(error, Compacted)
            if settled or time.monotonic() > deadline:
                raise
            await asyncio.sleep(PAUSE)
