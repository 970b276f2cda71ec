"""The history of a connection pool as charts, for the page and for its live updates.  Pure.

Time is cut into intervals that are the same for every page, and a chart ends with the current interval.  So
the chart of a pool in which nothing changes stays the same until the next interval begins, and its live
updates take no bytes.  A chart spans what is known of the pool, up to the range that was chosen: intervals
are short at first, and two become one when there are more than the chart has points.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from cenote.console import svg

RANGES = {15: "15 minutes", 60: "1 hour", 1440: "24 hours"}  # of the charts, by minutes
DEFAULT_MINUTES = 15
POINTS, FEW_POINTS = 90, 24  # of a chart
MANY = 8  # with more pools, charts have fewer points
REDRAWN = 5  # how often a chart is drawn within an interval, at most
SHORTEST = 20.0  # seconds that a chart spans at least
MINUTE = 60.0
_FINEST = {POINTS: 2.0, FEW_POINTS: 9.0}  # seconds of an interval, at least
COLUMNS = (
    *("size", "clients_active", "clients_waiting", "servers_active"),
    *("longest_wait_seconds", "transactions_per_second"),
)


def points(pools: int) -> int:
    """Return how many points each chart of a page with so many pools has."""
    return FEW_POINTS if pools > MANY else POINTS


@dataclass(frozen=True, slots=True)
class PoolSample:
    """A pool at a moment; the wait is in seconds, the rate in transactions a second."""

    size: float
    active: float
    waiting: float
    busy: float
    wait: float
    rate: float


@dataclass(slots=True)
class _Interval:
    """What happened up to ``end``: the maximum of what waits, the mean of the others, and every maximum."""

    end: float
    samples: int
    size: float
    active: float
    waiting: float
    busy: float
    wait: float
    rate: float
    most_active: float
    most_busy: float
    most_rate: float

    @classmethod
    def of(cls, end: float, one: PoolSample) -> Self:
        values = (one.size, one.active, one.waiting, one.busy, one.wait, one.rate)
        return cls(end, 1, *values, one.active, one.busy, one.rate)

    def absorb(self, later: _Interval) -> None:
        """Add the interval after this one; both become one that ends with it."""
        both = self.samples + later.samples
        for name in ("active", "busy", "rate"):
            mean = getattr(self, name) * self.samples + getattr(later, name) * later.samples
            setattr(self, name, mean / both)
        for name in ("waiting", "wait", "most_active", "most_busy", "most_rate"):
            setattr(self, name, max(getattr(self, name), getattr(later, name)))
        self.samples, self.size, self.end = both, later.size, later.end

    def add(self, one: PoolSample) -> None:
        self.samples += 1
        self.size = one.size
        self.active += (one.active - self.active) / self.samples
        self.busy += (one.busy - self.busy) / self.samples
        self.rate += (one.rate - self.rate) / self.samples
        self.waiting, self.wait = max(self.waiting, one.waiting), max(self.wait, one.wait)
        self.most_active, self.most_busy = max(self.most_active, one.active), max(self.most_busy, one.busy)
        self.most_rate = max(self.most_rate, one.rate)


@dataclass(frozen=True, slots=True)
class Summary:
    """The maxima of the charts' range, for readers who do not see them; ``range`` names it."""

    range: str
    active: float
    waiting: float
    busy: float
    wait: float
    rate: float


@dataclass(frozen=True, slots=True)
class Charts:
    """SVG paths, and the upper end of each y axis that the page shows.

    ``begin`` is the left end of the x axis in seconds of the Unix epoch, ``span`` its length in seconds.
    """

    active: str
    waiting: str
    busy: str
    size: str
    wait: str
    rate: str
    top_clients: float
    top_wait: float
    top_rate: float
    begin: float
    span: float


class PoolTrail:
    """The samples of one pool in the last ``minutes``, condensed to at most as many intervals as points."""

    def __init__(self, points: int, minutes: int = DEFAULT_MINUTES) -> None:
        self._points, self._range, self._words = points, MINUTE * minutes, RANGES[minutes]
        self._seconds = self._longest = self._range / points
        while self._seconds / 2 >= _FINEST[points]:
            self._seconds /= 2
        self._every = MINUTE * DEFAULT_MINUTES / points
        self._intervals: deque[_Interval] = deque()
        self.last: PoolSample | None = None
        self._last_at = self._drawn_at = 0.0

    @classmethod
    def of_history(
        cls,
        past: Mapping[str, Any],
        points: int,
        minutes: int = DEFAULT_MINUTES,
        older: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return the trail of a pool as ``pool_history`` of the API answers it, in columns.

        ``older`` has a row per minute; those from before the first sample of ``past`` are added.
        """
        trail = cls(points, minutes)
        first = min(past["at"], default=math.inf)
        for at, one in _rows(older) if older else ():
            if at + MINUTE <= first:
                trail.add(at + MINUTE / 2, one)
        for at, one in _rows(past):
            trail.add(at, one)
        return trail

    def add(self, at: float, one: PoolSample) -> bool:
        """Add a sample; return False for one that is not newer than the last, which changes nothing."""
        if at <= self._last_at:
            return False
        self.last, self._last_at = one, at
        end = (at // self._seconds + 1) * self._seconds
        if self._intervals and self._intervals[-1].end == end:
            self._intervals[-1].add(one)
            return True
        self._intervals.append(_Interval.of(end, one))
        while self._intervals[0].end < end - self._range:
            self._intervals.popleft()
        while self._seconds < self._longest and end - self._intervals[0].end > self._points * self._seconds:
            self._coarsen()
            end = self._intervals[-1].end
        return True

    def _coarsen(self) -> None:
        """Make intervals twice as long."""
        self._seconds *= 2
        coarse: deque[_Interval] = deque()
        for one in self._intervals:
            one.end = math.ceil(one.end / self._seconds) * self._seconds
            if coarse and coarse[-1].end == one.end:
                coarse[-1].absorb(one)
            else:
                coarse.append(one)
        self._intervals = coarse

    def is_due(self, at: float) -> bool:
        """Whether the charts are to be drawn again: a new sample is but a small part of a long interval."""
        due = at - self._drawn_at >= max(self._seconds, self._every) / REDRAWN
        if due:
            self._drawn_at = at
        return due

    def charts(self, size: int, now: float) -> Charts:
        """Return the charts as of a time in seconds of the Unix epoch; ``size`` is the pool's."""
        now = (now // self._seconds + 1) * self._seconds
        known = self._intervals
        age = now - known[0].end if known else self._range
        span = min(self._range, max(age, SHORTEST, self._seconds))
        gap = max(svg.GAP, 1.5 * self._seconds)
        axis = svg.TimeAxis([one.end for one in known], now, span, gap)
        active, waiting = [one.active for one in known], [one.waiting for one in known]
        clients = [one.active + one.waiting for one in known]
        longest, rate = [one.wait for one in known], [one.rate for one in known]
        sizes = [one.size for one in known]
        top_clients, top_wait = svg.top_of(_most(clients), 5), svg.top_of(_most(longest), 0.1)
        top_rate, top_servers = svg.top_of(_most(rate), 10), max([size, *sizes]) * 1.15
        return Charts(
            active=svg.area(axis, active, top_clients),
            waiting=svg.area(axis, clients, top_clients, lower=active) if any(waiting) else "",
            busy=svg.area(axis, [one.busy for one in known], top_servers),
            size=svg.steps(axis, sizes, top_servers),
            wait=svg.area(axis, longest, top_wait) if any(longest) else "",
            rate=svg.area(axis, rate, top_rate),
            top_clients=top_clients,
            top_wait=top_wait,
            top_rate=top_rate,
            begin=now - span,
            span=span,
        )

    def summary(self) -> Summary | None:
        """Return the maxima, None when there is no sample yet."""
        known = self._intervals
        if not known:
            return None
        return Summary(
            range=self._words,
            active=max(one.most_active for one in known),
            waiting=max(one.waiting for one in known),
            busy=max(one.most_busy for one in known),
            wait=max(one.wait for one in known),
            rate=max(one.most_rate for one in known),
        )


def _rows(past: Mapping[str, Any]) -> Iterator[tuple[float, PoolSample]]:
    for at, *values in zip(past["at"], *(past[name] for name in COLUMNS), strict=True):
        yield at, PoolSample(*values)


def _most(numbers: Sequence[float]) -> float:
    return max(numbers, default=0.0)
