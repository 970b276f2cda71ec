"""The history of pools over the poolers on all hosts of a cluster.  Pure.

Each host looks at its pooler at moments of its own, so a sum is made of the rows of about the same time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from cenote.stats.history import (
    DAY_MINUTES,
    MAXIMA_OVER_POOLERS,
    MINUTE,
    MINUTE_COLUMNS,
    POOL_COLUMNS,
    SAMPLES,
    ClusterHistory,
    PoolHistory,
    Table,
)
from cenote.stats.observer import Sample, Samples

NEAR_SECONDS = 30.0  # apart, at most, for samples of the same moment
KEPT = 16  # newest samples of each host
LIVE_SECONDS = 8.0  # the same for samples of pools that are being watched


def summed(histories: Sequence[ClusterHistory]) -> ClusterHistory:
    """Return the sums; ``machine`` is that of the first history, whose times the rows have.

    A row is left out if it is within what another host has of the pool, and that one could not look at its
    pooler then: the sum is not known.  What was before a host began to look is counted without it.
    """
    if len(histories) == 1:
        return histories[0]
    total = ClusterHistory()
    total.machine = histories[0].machine
    for name in {name: None for history in histories for name in history.pools}:
        parts = [history.pools[name] for history in histories if name in history.pools]
        pool = total.pools[name] = PoolHistory()
        pool.samples = _sum([part.samples for part in parts], POOL_COLUMNS, NEAR_SECONDS, SAMPLES)
        pool.minutes = _sum([part.minutes for part in parts], MINUTE_COLUMNS, MINUTE, DAY_MINUTES)
    return total


def _sum(tables: list[Table], columns: Mapping[str, str], near: float, most: int) -> Table:
    base, *others = sorted(tables, key=lambda table: not len(table))
    found = Table(columns)
    for at, row in base.rows():
        rows = [row]
        for other in others:
            if not len(other) or at < other.at[0] - near or at > other.at[-1] + near:
                continue
            nearest = other.nearest(at)
            if abs(other.at[nearest] - at) > near:
                break  # a gap
            rows.append(other.row(nearest))
        else:
            found.add(at, add_up(rows), most)
    return found


def add_up(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the sum of what poolers of a pool say of the same moment."""
    return {
        name: (max if name in MAXIMA_OVER_POOLERS else sum)(row[name] for row in rows) for name in rows[0]
    }


class LiveSums:
    """Adds up the samples that hosts send, each at its own moments.

    ``names`` are the nodes of all hosts, the writer first.  A sum is made for each sample of the first of
    them that has no problem; hosts without a sample of about then are not counted.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._recent: dict[str, deque[Sample]] = {name: deque(maxlen=KEPT) for name in names}
        self._due: list[Sample] = []
        self._at = 0.0
        self.problems: dict[str, str] = {}

    def add(self, name: str, found: Samples) -> list[tuple[Sample, int]]:
        """Take what a node has sent; return the sums that are due, each with the number of poolers in it.

        There is none until all nodes have sent something, if only why they cannot.
        """
        self.problems[name] = found.problem
        self._recent[name].extend(found.samples)
        if name == self._base():
            self._due += [sample for sample in found.samples if sample.at > self._at]
        if len(self.problems) < len(self._names):
            return []
        due, self._due = self._due, []
        self._at = max([self._at, *(sample.at for sample in due)])
        return [self._sum(sample.at) for sample in due]

    def _base(self) -> str:
        return next((name for name in self._names if not self.problems.get(name)), self._names[0])

    def _sum(self, at: float) -> tuple[Sample, int]:
        parts = {
            name: nearest
            for name, samples in self._recent.items()
            if samples and abs((nearest := _nearest(samples, at)).at - at) <= LIVE_SECONDS
        }
        pools = {}
        for name in {name: None for part in parts.values() for name in part.pools}:
            rows = [part.pools[name] for part in parts.values() if name in part.pools]
            pools[name] = add_up(rows) | {"size": max(row["size"] for row in rows)}
        first = parts.get(self._names[0])
        busy, sessions = (None, None) if first is None else (first.busy, first.sessions)
        return Sample(at=at, pools=pools, busy=busy, sessions=sessions), len(parts)


def _nearest(samples: Iterable[Sample], at: float) -> Sample:
    return min(samples, key=lambda sample: abs(sample.at - at))
