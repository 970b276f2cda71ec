"""What pools did before: samples of the last minutes, and a row for each minute of the last day.

Pure.  Numbers stand in arrays, a column for each: a sample of a pool takes 42 bytes and a minute of it 58, so
a pool whose day is full takes 100 KiB (``FULL_BYTES``).  ``max_minutes`` says how much of the day is kept,
so that a service with very many pools stays within its memory.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cenote.model.records import Pool
from cenote.stats.observer import MachineNumbers, PoolNumbers

SAMPLES = 450  # 15 minutes of one each 2 seconds
DAY_MINUTES = 24 * 60
MINUTE = 60.0
_SLACK = 32  # how many rows too many are let stand, so that a column is not moved with each new one

_COUNT, _NUMBER, _TIME = "H", "f", "d"
_MAX = {_COUNT: 65_535}

# What is told of a pool at a time.  Counts are those of that moment; the rates, of the time since the sample
# before: transactions and queries a second, and seconds a second, which is how many were at it on average
# (Little's law): clients that waited, servers in a transaction, servers in a query.
POOL_COLUMNS = {
    "size": _COUNT,
    "clients_active": _COUNT,
    "clients_waiting": _COUNT,
    "servers_active": _COUNT,
    "servers_idle": _COUNT,
    "longest_wait": _NUMBER,
    "transactions": _NUMBER,
    "queries": _NUMBER,
    "waiting": _NUMBER,
    "in_transaction": _NUMBER,
    "in_query": _NUMBER,
}
# The share of all processors that was busy, how many of them the server kept busy, and its sessions.
MACHINE_COLUMNS = {"busy": _NUMBER, "server": _NUMBER, "sessions": _COUNT, "processors": _COUNT}

_AVERAGED = ("clients_active", "clients_waiting", "servers_active", "transactions", "queries")
_AVERAGED_TIMES = ("waiting", "in_transaction", "in_query")
_MINUTE_COLUMNS = {
    **dict.fromkeys((*_AVERAGED, *_AVERAGED_TIMES), _NUMBER),
    **dict.fromkeys(("most_clients_active", "most_clients_waiting", "most_servers_active"), _COUNT),
    **dict.fromkeys(("least_clients_active", "least_clients_waiting", "least_servers_active"), _COUNT),
    "size": _COUNT,
    "longest_wait": _NUMBER,
}
_MINUTE_NAMES = {"clients_waiting": "most_clients_waiting"}

# Of a time that is told of by one number these are the most that there was, and everything else the average.
MAXIMA = frozenset({"clients_waiting", "longest_wait"})
SERIES_COLUMNS = tuple(name for name in POOL_COLUMNS if name != "servers_idle")

Row = Mapping[str, float]


class Table:
    """Rows in the order of time, only the newest of them; its columns are to be read, not to be written."""

    __slots__ = ("_columns", "at")

    def __init__(self, columns: Mapping[str, str]) -> None:
        self.at: array[float] = array(_TIME)
        self._columns: dict[str, array[Any]] = {name: array(code) for name, code in columns.items()}

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, name: str) -> Sequence[float]:
        return self._columns[name]

    def add(self, at: float, row: Row, most: int) -> None:
        self.at.append(at)
        for name, column in self._columns.items():
            value = row[name]
            column.append(
                value if column.typecode == _NUMBER else max(0, min(round(value), _MAX[column.typecode]))
            )
        if len(self.at) >= most + _SLACK:
            excess = len(self.at) - most
            del self.at[:excess]
            for column in self._columns.values():
                del column[:excess]

    def since(self, at: float) -> int:
        """Return the index of the first row that is not older."""
        return bisect_left(self.at, at)

    def rows(self, start: int = 0) -> Iterable[tuple[float, dict[str, float]]]:
        for index in range(start, len(self.at)):
            yield self.at[index], {name: column[index] for name, column in self._columns.items()}

    @property
    def size_bytes(self) -> int:
        columns: list[array[Any]] = [self.at, *self._columns.values()]
        return sum(column.itemsize * len(column) for column in columns)


class PoolHistory:
    """One pool: ``samples`` as they were taken, and ``minutes`` of averages and extremes."""

    __slots__ = ("_before", "_minute", "minutes", "samples")

    def __init__(self) -> None:
        self.samples = Table(POOL_COLUMNS)
        self.minutes = Table(_MINUTE_COLUMNS)
        self._before: tuple[float, PoolNumbers] | None = None
        self._minute = 0.0  # the one that is not over yet

    def add(self, at: float, pool: Pool, numbers: PoolNumbers, max_minutes: int) -> None:
        before, self._before = self._before, (at, numbers)
        if before is None or at <= before[0]:
            return  # there is nothing yet that rates could be told of
        self._close(at, max_minutes)
        self.samples.add(at, _row(pool, numbers, before[1], at - before[0]), SAMPLES)

    def told(
        self, begin: float, points: int | None = None
    ) -> tuple[Sequence[float], dict[str, Sequence[float]]]:
        """Return the times and the columns ``SERIES_COLUMNS`` of the samples since a time, in so many points."""
        start = self.samples.since(begin)
        return downsample(
            self.samples.at[start:], {name: self.samples[name][start:] for name in SERIES_COLUMNS}, points
        )

    def told_by_minute(
        self, begin: float, points: int | None = None
    ) -> tuple[Sequence[float], dict[str, Sequence[float]]]:
        """Return the same of the minutes that are over."""
        start = self.minutes.since(begin)
        columns = {name: self.minutes[_MINUTE_NAMES.get(name, name)][start:] for name in SERIES_COLUMNS}
        return downsample(self.minutes.at[start:], columns, points)

    def interrupt(self) -> None:
        """Forget what rates are told from: the pooler has not answered for a while."""
        self._before = None

    def _close(self, at: float, max_minutes: int) -> None:
        """When a minute is over, add the row of it."""
        minute = at - at % MINUTE
        if minute > self._minute:
            first = self.samples.since(self._minute)
            if self._minute and first < len(self.samples):
                self.minutes.add(self._minute, _minute_row(self.samples, first), max_minutes)
            self._minute = minute


class MachineHistory:
    """The host of a cluster and the server on it, at the times at which its pools were looked at."""

    __slots__ = ("_before", "samples")

    def __init__(self) -> None:
        self.samples = Table(MACHINE_COLUMNS)
        self._before: tuple[float, MachineNumbers] | None = None

    def add(self, at: float, numbers: MachineNumbers) -> None:
        before, self._before = self._before, (at, numbers)
        if before is None or at <= before[0]:
            return
        busy, idle = numbers.busy - before[1].busy, numbers.idle - before[1].idle
        row = {
            "busy": max(0.0, busy) / (busy + idle) if busy + idle > 0 else 0.0,
            # A server that was started again counts from zero.
            "server": max(0.0, numbers.server - before[1].server) / (at - before[0]),
            "sessions": numbers.sessions,
            "processors": numbers.processors,
        }
        self.samples.add(at, row, SAMPLES)


class ClusterHistory:
    """All pools of a cluster, and the machine below them."""

    __slots__ = ("machine", "pools")

    def __init__(self) -> None:
        self.pools: dict[str, PoolHistory] = {}
        self.machine = MachineHistory()

    def add(
        self,
        at: float,
        pools: Iterable[Pool],
        numbers: Mapping[str, PoolNumbers],
        machine: MachineNumbers | None,
        max_minutes: int = DAY_MINUTES,
    ) -> None:
        """Note what was seen at a time, in seconds of the epoch; pools that are gone are forgotten."""
        if machine is not None:
            self.machine.add(at, machine)
        kept: dict[str, PoolHistory] = {}
        for pool in pools:
            kept[pool.name] = self.pools.get(pool.name) or PoolHistory()
            # The pooler may not know yet of a pool that nobody has used.
            kept[pool.name].add(at, pool, numbers.get(pool.name, PoolNumbers()), max_minutes)
        self.pools = kept

    def interrupt(self) -> None:
        for pool in self.pools.values():
            pool.interrupt()

    @property
    def size_bytes(self) -> int:
        tables = [self.machine.samples]
        for pool in self.pools.values():
            tables += [pool.samples, pool.minutes]
        return sum(table.size_bytes for table in tables)


def downsample(
    at: Sequence[float], columns: Mapping[str, Sequence[float]], points: int | None
) -> tuple[Sequence[float], dict[str, Sequence[float]]]:
    """Return at most so many rows for rows of columns; each stands for an equal part of the time.

    Parts of which nothing is known are left out.
    """
    if points is None or len(at) <= points:
        return at, dict(columns)
    step = (at[-1] - at[0]) / points * (1 + 1e-9)
    parts: list[slice] = []
    begin = 0
    for index in range(1, len(at) + 1):
        if index == len(at) or (at[index] - at[0]) // step != (at[begin] - at[0]) // step:
            parts.append(slice(begin, index))
            begin = index
    fewer: dict[str, Sequence[float]] = {
        name: [max(column[part]) if name in MAXIMA else _mean(column[part]) for part in parts]
        for name, column in columns.items()
    }
    return [at[part.stop - 1] for part in parts], fewer


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


class _Full(NamedTuple):
    samples: int
    minutes: int


def _row_bytes(columns: Mapping[str, str]) -> int:
    return sum(array(code).itemsize for code in (_TIME, *columns.values()))


FULL_BYTES = _Full(SAMPLES * _row_bytes(POOL_COLUMNS), DAY_MINUTES * _row_bytes(_MINUTE_COLUMNS))


def max_minutes(pools: int, bytes_for_all: int) -> int:
    """Return how many minutes of each pool there is room for; at least an hour's are kept."""
    if not pools:
        return DAY_MINUTES
    left = bytes_for_all // pools - FULL_BYTES.samples
    return max(60, min(DAY_MINUTES, left // _row_bytes(_MINUTE_COLUMNS)))


def _row(pool: Pool, numbers: PoolNumbers, before: PoolNumbers, seconds: float) -> Row:
    # A pooler that was started again counts from zero, and of that time nothing is known.
    again = numbers.transactions < before.transactions or numbers.in_queries < before.in_queries

    def rate(now: float, then: float) -> float:
        return 0.0 if again else max(0.0, now - then) / seconds

    waiting = rate(numbers.waited, before.waited)
    return {
        "size": pool.size,
        "clients_active": numbers.clients_active,
        "clients_waiting": numbers.clients_waiting,
        "servers_active": numbers.servers_active,
        "servers_idle": numbers.servers_idle,
        "longest_wait": numbers.longest_wait,
        "transactions": rate(numbers.transactions, before.transactions),
        "queries": rate(numbers.queries, before.queries),
        "waiting": waiting,
        # PgBouncer counts both from when the client asked, so that waiting for a server is in them.
        "in_transaction": max(0.0, rate(numbers.in_transactions, before.in_transactions) - waiting),
        "in_query": max(0.0, rate(numbers.in_queries, before.in_queries) - waiting),
    }


def _minute_row(samples: Table, first: int) -> Row:
    columns = {name: samples[name][first:] for name in POOL_COLUMNS}
    row: dict[str, float] = {}
    for name in (*_AVERAGED, *_AVERAGED_TIMES):
        row[name] = _mean(columns[name])
    for name in ("clients_active", "clients_waiting", "servers_active"):
        row[f"most_{name}"], row[f"least_{name}"] = max(columns[name]), min(columns[name])
    row["size"] = columns["size"][-1]
    row["longest_wait"] = max(columns["longest_wait"])
    return row
