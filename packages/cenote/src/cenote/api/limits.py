"""Rate limits of tokens: requests per hour, and a burst limit per minute.

The windows slide: a request counts for an hour, or a minute.  Requests are counted in buckets of one second,
so a token takes memory only for the seconds in which it was used.  Rejected requests do not count.
"""

from __future__ import annotations

from collections import deque
from uuid import UUID

import msgspec

from cenote.errors import TooManyRequests

HOUR = 3600
MINUTE = 60


class _Window:
    """A sliding window: the requests of the last ``length`` seconds."""

    __slots__ = ("_buckets", "length", "total")

    def __init__(self, length: int) -> None:
        self.length = length
        self.total = 0
        self._buckets: deque[list[int]] = deque()  # [second, requests], the oldest first

    def expire(self, second: int) -> None:
        buckets = self._buckets
        while buckets and buckets[0][0] <= second - self.length:
            self.total -= buckets.popleft()[1]

    def add(self, second: int) -> None:
        if self._buckets and self._buckets[-1][0] >= second:
            self._buckets[-1][1] += 1
        else:
            self._buckets.append([second, 1])
        self.total += 1

    def first_expiry(self, second: int) -> int:
        return (self._buckets[0][0] if self._buckets else second) + self.length


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

    def spend(self, token_id: UUID, now: float) -> RateLimitStatus | None:
        """Count a request unless a limit is reached; None without limits."""
        if not self._per_hour and not self._per_minute:
            return None
        second = int(now)
        windows = self._windows.get(token_id)
        if windows is None:
            windows = self._windows[token_id] = (_Window(HOUR), _Window(MINUTE))
        hour, minute = windows
        hour.expire(second)
        minute.expire(second)
        error = None
        if self._per_hour and hour.total >= self._per_hour:
            error = TooManyRequests()
        elif self._per_minute and minute.total >= self._per_minute:
            error = TooManyRequests(retry_after=max(1, minute.first_expiry(second) - second))
        else:
            hour.add(second)
            minute.add(second)
        window, limit = (hour, self._per_hour) if self._per_hour else (minute, self._per_minute)
        return RateLimitStatus(limit, max(0, limit - window.total), window.first_expiry(second), error)
