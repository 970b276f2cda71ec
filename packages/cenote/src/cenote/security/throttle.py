"""Limits failed logins per address.

Tokens are far too long to be guessed; the limit keeps an attacker from costing more than a response.  The
password for metrics may be chosen by a person; there the limit prevents guessing.
"""

from __future__ import annotations

import time
from collections import deque

MAX_FAILURES = 10
WINDOW_SECONDS = 60.0
MAX_ADDRESSES = 10_000  # bounds the memory that an attacker with many addresses can take


class Throttle:
    """The times of each address's failed logins in the last minute."""

    def __init__(self) -> None:
        self._failures: dict[str, deque[float]] = {}

    def allows(self, address: str) -> bool:
        failures = self._failures.get(address)
        if failures is None:
            return True
        while failures and failures[0] < time.monotonic() - WINDOW_SECONDS:
            failures.popleft()
        return len(failures) < MAX_FAILURES

    def record_failure(self, address: str) -> None:
        """Count a failed login."""
        failures = self._failures.pop(address, None) or deque(maxlen=MAX_FAILURES)
        failures.append(time.monotonic())
        self._failures[address] = failures
        while len(self._failures) > MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]
