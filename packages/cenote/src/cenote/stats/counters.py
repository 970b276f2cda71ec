"""Counters and histograms of requests and reconciliation passes, read at each scrape.

They are incremented on one event loop, so without locks: that is what makes them cheap on every request.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Hashable
from enum import StrEnum

import msgspec

# In seconds: from a response out of memory to one that waits for the restart of a server.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram(msgspec.Struct):
    """Durations in seconds by upper bound; the last of ``counts`` is of those above all bounds."""

    bounds: tuple[float, ...] = BOUNDS
    counts: list[int] = []
    sum: float = 0.0

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds


class Requests:
    """Responses of the API by method, path of the operation and status."""

    __slots__ = ("responses", "seconds")

    def __init__(self) -> None:
        self.responses: dict[tuple[str, str, int], int] = {}
        self.seconds: dict[tuple[str, str], Histogram] = {}

    def add(self, method: str, path: str, status: int, seconds: float) -> None:
        key = method, path, status
        self.responses[key] = self.responses.get(key, 0) + 1
        histogram = self.seconds.get((method, path))
        if histogram is None:
            histogram = self.seconds[method, path] = Histogram()
        histogram.add(seconds)


class PassResult(StrEnum):
    """The outcome of a reconciliation pass over a node; a waiting one is repeated, a quiet one not made."""

    DONE = "done"
    WAITING = "waiting"
    FAILED = "failed"
    QUIET = "quiet"


class PassNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """The passes so far; ``behind`` is the age in seconds of the oldest change not yet applied to a node."""

    outcomes: dict[PassResult, int]
    seconds: Histogram
    behind: float


class Passes:
    """The agent's reconciliation passes over the nodes of a host."""

    __slots__ = ("_unfinished", "outcomes", "seconds")

    def __init__(self) -> None:
        self.outcomes = dict.fromkeys(PassResult, 0)
        self.seconds = Histogram()
        self._unfinished: dict[Hashable, float] = {}

    def begin(self, id: Hashable) -> float:
        """Return the time of the beginning, of the monotonic clock."""
        now = time.monotonic()
        self._unfinished.setdefault(id, now)
        return now

    def end(self, id: Hashable, outcome: PassResult, began: float) -> None:
        self.outcomes[outcome] += 1
        self.seconds.add(time.monotonic() - began)
        if outcome is PassResult.DONE:
            self.forget(id)

    def skip(self) -> None:
        """A pass that was not made, since nothing has happened in the node."""
        self.outcomes[PassResult.QUIET] += 1

    def forget(self, id: Hashable) -> None:
        self._unfinished.pop(id, None)

    def numbers(self) -> PassNumbers:
        return PassNumbers(outcomes=self.outcomes, seconds=self.seconds, behind=self.behind())

    def behind(self) -> float:
        """Return the age in seconds of the oldest change not yet applied to a node; 0 without any."""
        began = min(self._unfinished.values(), default=None)
        return 0.0 if began is None else time.monotonic() - began
