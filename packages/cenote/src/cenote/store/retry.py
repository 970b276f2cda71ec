"""How long a call waits for an etcd that restarts: the one place where something is tried again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cenote.errors import Unavailable
from cenote.store.client import Compacted, EtcdError

T = TypeVar("T")

PATIENCE = 10.0  # seconds
PAUSE = 0.02


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Return what ``call`` returns; it is called again while etcd is away, and must bear that.

    Raises Unavailable when etcd does not come back, and passes on at once what etcd itself refused.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await call()
        except Unavailable as error:
            settled = isinstance(error, EtcdError) and not isinstance(error, Compacted)
            if settled or time.monotonic() > deadline:
                raise
            await asyncio.sleep(PAUSE)
