"""Counting how long things take, for next to nothing."""

from __future__ import annotations

import time
from bisect import bisect_left
from enum import StrEnum
from uuid import UUID

# Seconds: from an answer out of memory to one that waits for a server's restart.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """How many seconds each of many things took; ``counts`` has one more for those above all bounds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds


class Requests:
    """The API's answers, by method, path of the operation, and status."""

    __slots__ = ("answers", "seconds")

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str, int], int] = {}
        self.seconds: dict[tuple[str, str], Histogram] = {}

    def add(self, method: str, path: str, status: int, seconds: float) -> None:
        key = method, path, status
        self.answers[key] = self.answers.get(key, 0) + 1
        histogram = self.seconds.get((method, path))
        if histogram is None:
            histogram = self.seconds[method, path] = Histogram()
        histogram.add(seconds)


class PassResult(StrEnum):
    """What a pass over a node came to; one that waits is made again until it does not."""

    DONE = "done"
    WAITING = "waiting"
    FAILED = "failed"


class Passes:
    """The agent's passes over the nodes of a host."""

    __slots__ = ("_unfinished", "outcomes", "seconds")

    def __init__(self) -> None:
        self.outcomes = dict.fromkeys(PassResult, 0)
        self.seconds = Histogram()
        self._unfinished: dict[UUID, float] = {}

    def begin(self, id: UUID) -> float:
        """Return when that was, by the monotonic clock."""
        now = time.monotonic()
        self._unfinished.setdefault(id, now)
        return now

    def end(self, id: UUID, outcome: PassResult, began: float) -> None:
        self.outcomes[outcome] += 1
        self.seconds.add(time.monotonic() - began)
        if outcome is PassResult.DONE:
            self.forget(id)

    def forget(self, id: UUID) -> None:
        self._unfinished.pop(id, None)

    def behind(self) -> float:
        """Return for how many seconds the work on some node has not come to its end; 0 when all has."""
        began = min(self._unfinished.values(), default=None)
        return 0.0 if began is None else time.monotonic() - began
