"""When a call is made again.

An answer with ``retry-after`` to 429 or 503 says that nothing was done, so every method may come again.
After other failures of the server, and after a lost connection, nobody knows whether the call took effect:
only methods that may be repeated (GET, PUT, DELETE) are.  A connection that was never made is safe for all.
"""

from __future__ import annotations

import time
from typing import NamedTuple

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
RETRY_AFTER_STATUSES = frozenset({429, 503})
TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})


class Retry(NamedTuple):
    """How often and how long a call is tried.

    ``tries`` counts the first one.  ``budget`` is in seconds and covers everything from the first try to the
    start of the last; a wait that would end after it is not begun.  Waits grow from ``first_wait`` by
    doubling up to ``longest_wait``, each shortened at random by up to half, so that many clients do not come
    back together.
    """

    tries: int = 4
    budget: float = 60.0
    first_wait: float = 0.5
    longest_wait: float = 20.0


NO_RETRY = Retry(tries=1)


class Attempts:
    """The tries of one call: told of a failure, it says how long to wait before the next; None: give up."""

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
        """``reached``: whether the request may have reached the service."""
        self._made += 1
        if reached and self._method not in IDEMPOTENT_METHODS:
            return None
        return self._within_budget(self._wait())

    def _wait(self) -> float:
        from random import random  # costs 2 ms, which a call that works never pays

        longest: float = min(self._retry.first_wait * 2 ** (self._made - 1), self._retry.longest_wait)
        return longest * (0.5 + random() / 2)  # noqa: S311

    def _within_budget(self, wait: float) -> float | None:
        spent = time.monotonic() - self._start
        return wait if self._made < self._retry.tries and spent + wait <= self._retry.budget else None


def parse_retry_after(retry_after: str | None) -> float | None:
    """Return what a ``retry-after`` header says, in seconds from now: a number or a date, None for anything
    else.
    """
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
