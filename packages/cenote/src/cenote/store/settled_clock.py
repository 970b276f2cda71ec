"""The clock by which old records are removed: it follows a jump forward only after a day.

A clock far ahead, such as before NTP has set it, would otherwise remove all events and past records at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

JUMP = timedelta(days=2).total_seconds()
SETTLED_AFTER = timedelta(days=1).total_seconds()

Clocks = Callable[[], tuple[float, float]]  # the Unix time and the monotonic one


def _clocks() -> tuple[float, float]:
    return time.time(), time.monotonic()


class SettledClock:
    """Follows the clock, but not forward by more than ``JUMP`` until that has lasted ``SETTLED_AFTER``."""

    def __init__(self, clocks: Clocks = _clocks) -> None:
        self._clocks = clocks
        self._settled: float | None = None  # the Unix time minus the monotonic one
        self._other: tuple[float, float] | None = None  # a difference that was seen, and since when

    def begin(self, newest: datetime | None) -> None:
        """Begin at the clock, or at the newest time known if the clock is far from that."""
        clock, monotonic = self._clocks()
        if newest is not None and clock - newest.timestamp() > JUMP:
            clock = newest.timestamp()
        self._settled = clock - monotonic

    def now(self) -> datetime:
        """Return a time that is not later than the clock's."""
        clock, monotonic = self._clocks()
        difference = clock - monotonic
        if self._settled is None or abs(difference - self._settled) <= JUMP or self._has_lasted(difference):
            self._settled, self._other = difference, None
        return datetime.fromtimestamp(min(self._settled + monotonic, clock), UTC)

    def _has_lasted(self, difference: float) -> bool:
        _, monotonic = self._clocks()
        if self._other is None or abs(difference - self._other[0]) > JUMP:
            self._other = difference, monotonic
        return monotonic - self._other[1] >= SETTLED_AFTER
