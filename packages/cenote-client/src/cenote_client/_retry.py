"""When a call is retried, with exponential backoff and jitter.

A 429 or 503 with ``retry-after`` means that nothing was done, so every method is retried.  After other
server errors, and after a lost connection, the call may have taken effect: only idempotent methods (GET, PUT,
DELETE) are retried.  If no connection was made, every method is retried.
"""

from __future__ import annotations

import time
from typing import NamedTuple

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
RETRY_AFTER_STATUSES = frozenset({429, 503})
TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})


class Retry(NamedTuple):
    """How a call is retried; times are in seconds.

    ``tries`` includes the first attempt.  ``budget`` limits the time from the first attempt to the start of
    the last; a wait that would exceed it is not started.  Waits double from ``first_wait`` up to
    ``longest_wait``; each is shortened at random by up to half, so that many clients do not retry at once.
    """

    tries: int = 4
    budget: float = 60.0
    first_wait: float = 0.5
    longest_wait: float = 20.0


NO_RETRY = Retry(tries=1)


class Attempts:
    """The attempts of one call; after a failure it returns the wait before the next, None to give up."""

    __slots__ = ("_made", "_method", "_retry", "_start")

    def __init__(self, retry: Retry, method: str) -> None:
        self._retry = retry
        self._method = method
        self._made = 0
        self._start = time.monotonic()

    def after_status(self, status: int, retry_after: float | None) -> float | None:
        self._made += 1
        if retry_after is not None and status in RETRY_AFTER_STATUSES:
            return self._within_budget(retry_after)
        if status in TRANSIENT_STATUSES and self._method in IDEMPOTENT_METHODS:
            return self._within_budget(self._wait())
        return None

    def after_failure(self, *, reached: bool) -> float | None:
        """``reached`` says whether the request may have reached the service."""
        self._made += 1
        if reached and self._method not in IDEMPOTENT_METHODS:
            return None
        return self._within_budget(self._wait())

    def _wait(self) -> float:
        from random import random  # imported late: it takes 2 ms, and a successful call needs none

        longest: float = min(self._retry.first_wait * 2 ** (self._made - 1), self._retry.longest_wait)
        return longest * (0.5 + random() / 2)  # noqa: S311

    def _within_budget(self, wait: float) -> float | None:
        spent = time.monotonic() - self._start
        return wait if self._made < self._retry.tries and spent + wait <= self._retry.budget else None


def parse_retry_after(retry_after: str | None) -> float | None:
    """Return the seconds of a ``retry-after`` header, which is a number or a date; None if it is invalid."""
    if not retry_after:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
