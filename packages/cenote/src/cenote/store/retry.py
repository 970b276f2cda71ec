"""Retries etcd calls for up to 10 s; the only retry loop of the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cenote.errors import Unavailable
from cenote.store.client import SILENT, Compacted, EtcdError

T = TypeVar("T")

RETRY_SECONDS = 10.0  # in which an attempt is begun
LATEST_SECONDS = 12.0  # when the last one of a short call is given up; clients of the API wait for 15
LEAST_SECONDS = 3.0  # that one attempt of a short call gets
PAUSE = 0.02


async def retrying(call: Callable[[], Awaitable[T]], *, is_short: bool = False, waited: float = 0.0) -> T:
    """Return what ``call`` returns, and retry it while etcd is unreachable; it must be idempotent.

    A call that ``is_short`` is given up while it waits for an answer, too; others may read many pages.
    ``waited`` is for how many seconds etcd has been silent already: they count, so that one attempt is left
    of a call that comes late, and a host that is cut off refuses changes at once.
    Raises Unavailable when etcd does not come back.  Errors that etcd itself answers with are not retried.
    """
    deadline = time.monotonic() + max(0.0, RETRY_SECONDS - waited)
    latest = max(LEAST_SECONDS, LATEST_SECONDS - waited) if waited else LATEST_SECONDS
    reason = Unavailable(SILENT)
    try:
        async with asyncio.timeout(latest if is_short else None) as limit:
            while True:
                try:
                    return await call()
                except Unavailable as error:
                    settled = isinstance(error, EtcdError) and not isinstance(error, Compacted)
                    if settled or time.monotonic() > deadline:
                        raise
                    reason = error
                    await asyncio.sleep(PAUSE)
    except TimeoutError:
        if limit.expired():
            raise reason from None
        raise
