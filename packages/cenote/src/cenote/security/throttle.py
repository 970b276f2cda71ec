"""How many wrong tokens or passwords somebody may try.

Tokens are far too long to be guessed, and this keeps whoever tries from costing more than an answer.  The
password of the login for metrics may be of a person's choosing, and this keeps it from being guessed.
"""

from __future__ import annotations

import time
from collections import deque

TRIES = 10
SECONDS = 60.0
MOST_ADDRESSES = 10_000  # so that whoever has many addresses does not take our memory


class Throttle:
    """The wrong tries of each address in the last minute."""

    def __init__(self) -> None:
        self._tries: dict[str, deque[float]] = {}

    def has_some(self, address: str) -> bool:
        tries = self._tries.get(address)
        if tries is None:
            return True
        while tries and tries[0] < time.monotonic() - SECONDS:
            tries.popleft()
        return len(tries) < TRIES

    def lose(self, address: str) -> None:
        """Count a wrong try."""
        tries = self._tries.pop(address, None) or deque(maxlen=TRIES)
        tries.append(time.monotonic())
        self._tries[address] = tries
        while len(self._tries) > MOST_ADDRESSES:
            del self._tries[next(iter(self._tries))]
