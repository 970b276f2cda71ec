"""Gives memory back to the system after a peak of connections.

The allocator of glibc keeps what was freed between pieces that are still in use, for good.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable

WORTH_IT = 200  # connections that have closed since the peak
PAUSE_SECONDS = 10.0  # between two times


def _find() -> Callable[[int], int] | None:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):  # another C library
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return lambda keep: int(trim(keep))


_trim = _find()


class Trimming:
    """Follows the number of connections."""

    def __init__(self) -> None:
        self._peak = 0
        self._timer: asyncio.TimerHandle | None = None
        self._pending: set[asyncio.Future[int]] = set()
        self._open = 0
        self.times = 0

    def follow(self, connections: int) -> None:
        self._open = connections
        self._peak = max(self._peak, connections)
        if _trim is not None and self._timer is None and self._peak - connections >= WORTH_IT:
            # Some time later, as the others of a peak close as well, and what they have left is collected.
            self._timer = asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._start)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _start(self) -> None:
        assert _trim is not None
        self._timer, self._peak = None, self._open
        self.times += 1
        pending = asyncio.get_running_loop().run_in_executor(None, _trim, 0)
        self._pending.add(pending)
        pending.add_done_callback(self._pending.discard)
