"""Rate limits of tokens: requests per hour, and a burst limit per minute.

The windows slide: a request counts for an hour, or a minute, by monotonic time; the clock is only shown.
Requests are counted in buckets of one second.  Those of a token that is used all the time are merged, so that
a request may count a sixtieth of the window longer; a token that is not used takes no memory.  Rejected
requests do not count.
"""

from __future__ import annotations

from collections import deque
from uuid import UUID

import msgspec

from cenote.errors import TooManyRequests

HOUR = 3600
MINUTE = 60
_MERGE_AT = 150  # buckets; merged ones are 121 at most
_PARTS = 60  # of a window: the span of a bucket that others were merged into


class _Window:
    """A sliding window: the requests of the last ``length`` seconds."""

    __slots__ = ("_buckets", "length", "total")

    def __init__(self, length: int) -> None:
        self.length = length
        self.total = 0
        # [first second, last second, requests], the oldest first
        self._buckets: deque[list[int]] = deque()

    def expire(self, second: int) -> None:
        buckets = self._buckets
        while buckets and buckets[0][1] <= second - self.length:
            self.total -= buckets.popleft()[2]

    def add(self, second: int) -> None:
        if self._buckets and self._buckets[-1][1] >= second:
            self._buckets[-1][2] += 1
        else:
            self._buckets.append([second, second, 1])
            if len(self._buckets) > _MERGE_AT:
                self._merge()
        self.total += 1

    def first_expiry(self, second: int) -> int:
        return (self._buckets[0][1] if self._buckets else second) + self.length

    def _merge(self) -> None:
        merged: deque[list[int]] = deque()
        for first, last, count in self._buckets:
            if merged and last - merged[-1][0] < self.length // _PARTS:
                merged[-1][1] = last
                merged[-1][2] += count
            else:
                merged.append([first, last, count])
        self._buckets = merged


class RateLimitStatus(msgspec.Struct, frozen=True):
    """A token's limit after a request; ``reset`` is when the oldest one expires, in seconds of the epoch."""

    limit: int
    remaining: int
    reset: int
    error: TooManyRequests | None = None

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % self.reset),
        ]


class Limits:
    """The rate limits of all tokens; 0 means no limit."""

    def __init__(self, per_hour: int, per_minute: int) -> None:
        self._per_hour = per_hour
        self._per_minute = per_minute
        self._windows: dict[UUID, tuple[_Window, _Window]] = {}

    def __len__(self) -> int:
        """Return how many tokens there are counts of."""
        return len(self._windows)

    def spend(self, token_id: UUID, now: float, clock: float) -> RateLimitStatus | None:
        """Count a request unless a limit is reached; None without limits.

        ``now`` is monotonic; ``clock`` is the Unix time, for the time that is shown.
        """
        if not self._per_hour and not self._per_minute:
            return None
        second = int(now)
        windows = (
            self._windows.pop(token_id) if token_id in self._windows else (_Window(HOUR), _Window(MINUTE))
        )
        self._windows[token_id] = hour, minute = windows  # the last one used is at the end
        hour.expire(second)
        minute.expire(second)
        self._forget_unused(second)
        error = None
        if self._per_hour and hour.total >= self._per_hour:
            error = TooManyRequests()
        elif self._per_minute and minute.total >= self._per_minute:
            error = TooManyRequests(retry_after=max(1, minute.first_expiry(second) - second))
        else:
            hour.add(second)
            minute.add(second)
        window, limit = (hour, self._per_hour) if self._per_hour else (minute, self._per_minute)
        reset = int(clock) + window.first_expiry(second) - second
        return RateLimitStatus(limit, max(0, limit - window.total), reset, error)

    def _forget_unused(self, second: int) -> None:
        """Forget the tokens that were not used for an hour, such as those that were deleted."""
        while True:
            token_id, (hour, _) = next(iter(self._windows.items()))
            hour.expire(second)
            if hour.total or len(self._windows) == 1:
                return
            del self._windows[token_id]
