"""The statistics history of pools: samples of the last 15 minutes, and a row for each minute of the last day.

Rows are stored by column, in arrays: a sample of a pool takes 42 bytes and a minute 58, so a full day of a
pool takes 100 KiB (``FULL_BYTES``).  ``max_minutes`` limits the minutes per pool, to bound the memory of a
service with very many pools.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from cenote.model.records import Pool
from cenote.stats.observer import Columns, HistoryTables, MachineNumbers, PoolNumbers, PoolTables

SAMPLES = 450  # 15 minutes, one every 2 seconds
DAY_MINUTES = 24 * 60
SAMPLED_MINUTES = 15  # up to this long a history has single samples, a longer one has a row per minute
MINUTE = 60.0
_SLACK = 32  # excess rows before the oldest are removed, so that columns are not shifted with every new row

_COUNT, _NUMBER, _TIME = "H", "f", "d"
_MAX = {_COUNT: 65_535}

# A sample of a pool.  Counts are gauges; the other columns are rates since the previous sample: transactions
# and queries per second, and seconds per second, which are average numbers (Little's law): waiting clients,
# servers in a transaction, servers in a query.
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
# The busy share of all processors, the number of them that the server used, and its sessions.
MACHINE_COLUMNS = {"busy": _NUMBER, "server": _NUMBER, "sessions": _COUNT, "processors": _COUNT}

_AVERAGED = ("clients_active", "clients_waiting", "servers_active", "transactions", "queries")
_AVERAGED_TIMES = ("waiting", "in_transaction", "in_query")
MINUTE_COLUMNS = {
    **dict.fromkeys((*_AVERAGED, *_AVERAGED_TIMES), _NUMBER),
    **dict.fromkeys(("most_clients_active", "most_clients_waiting", "most_servers_active"), _COUNT),
    **dict.fromkeys(("least_clients_active", "least_clients_waiting", "least_servers_active"), _COUNT),
    "size": _COUNT,
    "longest_wait": _NUMBER,
}
_MINUTE_NAMES = {"clients_waiting": "most_clients_waiting"}

# Downsampled by maximum, all others by average.
MAXIMA = frozenset({"clients_waiting", "longest_wait"})
# Of several poolers the largest counts, all others are added up.
MAXIMA_OVER_POOLERS = frozenset({"longest_wait"})
SERIES_COLUMNS = tuple(name for name in POOL_COLUMNS if name != "servers_idle")

Row = Mapping[str, float]


class Table:
    """The newest rows, ordered by time; callers must not modify the columns."""

    __slots__ = ("_columns", "at")

    def __init__(self, columns: Mapping[str, str]) -> None:
        self.at: array[float] = array(_TIME)
        self._columns: dict[str, array[Any]] = {name: array(code) for name, code in columns.items()}

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, name: str) -> Sequence[float]:
        return self._columns[name]

    def add(self, at: float, row: Row, max_rows: int) -> None:
        self.at.append(at)
        for name, column in self._columns.items():
            value = row[name]
            column.append(
                value if column.typecode == _NUMBER else max(0, min(round(value), _MAX[column.typecode]))
            )
        if len(self.at) >= max_rows + _SLACK:
            excess = len(self.at) - max_rows
            del self.at[:excess]
            for column in self._columns.values():
                del column[:excess]

    def shift(self, seconds: float) -> None:
        """Move all rows in time."""
        self.at = array(_TIME, [at + seconds for at in self.at])

    def since(self, at: float) -> int:
        """Return the index of the first row at or after a time."""
        return bisect_left(self.at, at)

    def nearest(self, at: float) -> int:
        """Return the index of the row whose time is the nearest; there must be one."""
        after = min(self.since(at), len(self.at) - 1)
        before = max(0, after - 1)
        return min(before, after, key=lambda index: abs(self.at[index] - at))

    def row(self, index: int) -> dict[str, float]:
        return {name: column[index] for name, column in self._columns.items()}

    def rows(self, start: int = 0) -> Iterable[tuple[float, dict[str, float]]]:
        for index in range(start, len(self.at)):
            yield self.at[index], self.row(index)

    def encoded(self, start: int = 0) -> Columns:
        """Return the columns from a row on; numbers are in the byte order of x86."""
        named = {"at": self.at, **self._columns}
        return {name: _ordered(column[start:]).tobytes() for name, column in named.items()}

    @classmethod
    def of(cls, columns: Mapping[str, str], encoded: Columns) -> Self:
        """Return the table that ``encoded`` was made from; ValueError if it has other columns."""
        table = cls(columns)
        if not encoded:
            return table
        if encoded.keys() != {"at", *columns}:
            raise ValueError(f"the columns of a history are {sorted(encoded)}")
        for name, column in (("at", table.at), *table._columns.items()):
            column.frombytes(encoded[name])
            _ordered(column)
            if len(column) != len(table.at):
                raise ValueError(f"the column {name} of a history has {len(column)} rows")
        return table

    @property
    def size_bytes(self) -> int:
        columns: list[array[Any]] = [self.at, *self._columns.values()]
        return sum(column.itemsize * len(column) for column in columns)


def _ordered(column: array[Any]) -> array[Any]:
    if sys.byteorder == "big":
        column.byteswap()
    return column


class PoolHistory:
    """One pool: ``samples``, and ``minutes`` with averages and extremes."""

    __slots__ = ("_before", "_minute", "minutes", "samples")

    def __init__(self) -> None:
        self.samples = Table(POOL_COLUMNS)
        self.minutes = Table(MINUTE_COLUMNS)
        self._before: tuple[float, PoolNumbers] | None = None
        self._minute = 0.0  # the current one

    def add(self, at: float, pool: Pool, numbers: PoolNumbers, max_minutes: int) -> None:
        before, self._before = self._before, (at, numbers)
        if before is None or at <= before[0]:
            return  # rates need two samples
        self._finish_minute(at, max_minutes)
        self.samples.add(at, _row(pool, numbers, before[1], at - before[0]), SAMPLES)

    def samples_since(
        self, begin: float, points: int | None = None
    ) -> tuple[Sequence[float], dict[str, Sequence[float]]]:
        """Return times and columns of the samples since a time, downsampled to ``points``."""
        start = self.samples.since(begin)
        return downsample(
            self.samples.at[start:], {name: self.samples[name][start:] for name in SERIES_COLUMNS}, points
        )

    def minutes_since(
        self, begin: float, points: int | None = None
    ) -> tuple[Sequence[float], dict[str, Sequence[float]]]:
        """Return the same of the completed minutes."""
        start = self.minutes.since(begin)
        columns = {name: self.minutes[_MINUTE_NAMES.get(name, name)][start:] for name in SERIES_COLUMNS}
        return downsample(self.minutes.at[start:], columns, points)

    def tables(self, begin: float, *, minutes: bool) -> PoolTables:
        return PoolTables(
            samples=self.samples.encoded(self.samples.since(begin)),
            minutes=self.minutes.encoded(self.minutes.since(begin - MINUTE)) if minutes else {},
        )

    @classmethod
    def of(cls, tables: PoolTables) -> Self:
        history = cls()
        history.samples = Table.of(POOL_COLUMNS, tables.samples)
        history.minutes = Table.of(MINUTE_COLUMNS, tables.minutes)
        return history

    def shift(self, seconds: float) -> None:
        self.samples.shift(seconds)
        self.minutes.shift(seconds)
        self._before = None if self._before is None else (self._before[0] + seconds, self._before[1])
        # The minute that is under way begins anew, or samples of it would be counted twice.
        self._minute = self.minutes.at[-1] + MINUTE if self.minutes else 0.0

    def interrupt(self) -> None:
        """Start rates anew after a gap in which PgBouncer did not answer."""
        self._before = None

    def _finish_minute(self, at: float, max_minutes: int) -> None:
        """Add the row of the current minute when it is over."""
        minute = at - at % MINUTE
        if minute > self._minute:
            first = self.samples.since(self._minute)
            if self._minute and first < len(self.samples):
                self.minutes.add(self._minute, _minute_row(self.samples, first), max_minutes)
            self._minute = minute


class MachineHistory:
    """The host of a cluster and the server on it, sampled with the pools."""

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
            # The counter of a restarted server begins at zero.
            "server": max(0.0, numbers.server - before[1].server) / (at - before[0]),
            "sessions": numbers.sessions,
            "processors": numbers.processors,
        }
        self.samples.add(at, row, SAMPLES)

    def shift(self, seconds: float) -> None:
        self.samples.shift(seconds)
        self._before = None if self._before is None else (self._before[0] + seconds, self._before[1])


class ClusterHistory:
    """All pools of a cluster, and its host."""

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
        """Add a sample at a Unix time; the history of deleted pools is dropped."""
        if machine is not None:
            self.machine.add(at, machine)
        current: dict[str, PoolHistory] = {}
        for pool in pools:
            current[pool.name] = self.pools.get(pool.name) or PoolHistory()
            # PgBouncer may not list a pool that was never used.
            current[pool.name].add(at, pool, numbers.get(pool.name, PoolNumbers()), max_minutes)
        self.pools = current

    def tables(self, now: float, minutes: int) -> HistoryTables:
        """Return the last minutes in a form that can be sent; ``of`` restores it."""
        begin = now - MINUTE * minutes
        return HistoryTables(
            now=now,
            pools={
                name: pool.tables(begin, minutes=minutes > SAMPLED_MINUTES)
                for name, pool in self.pools.items()
            },
            machine=self.machine.samples.encoded(self.machine.samples.since(begin)),
        )

    @classmethod
    def of(cls, tables: HistoryTables) -> Self:
        """Return the history for reading; ValueError if its tables are not those of this version."""
        history = cls()
        history.pools = {name: PoolHistory.of(pool) for name, pool in tables.pools.items()}
        history.machine.samples = Table.of(MACHINE_COLUMNS, tables.machine)
        return history

    def shift(self, seconds: float) -> None:
        """Move all samples in time, as the clock was set."""
        self.machine.shift(seconds)
        for pool in self.pools.values():
            pool.shift(seconds)

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
    """Reduce rows to at most ``points``, each of an equal interval; intervals without rows are left out."""
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


FULL_BYTES = _Full(SAMPLES * _row_bytes(POOL_COLUMNS), DAY_MINUTES * _row_bytes(MINUTE_COLUMNS))


def max_minutes(pools: int, bytes_for_all: int) -> int:
    """Return how many minutes of each pool fit into the memory for all, at least 60."""
    if not pools:
        return DAY_MINUTES
    left = bytes_for_all // pools - FULL_BYTES.samples
    return max(60, min(DAY_MINUTES, left // _row_bytes(MINUTE_COLUMNS)))


def _row(pool: Pool, numbers: PoolNumbers, before: PoolNumbers, seconds: float) -> Row:
    # The counters of a restarted PgBouncer begin at zero, so the rates are unknown.
    restarted = numbers.transactions < before.transactions or numbers.in_queries < before.in_queries

    def rate(now: float, then: float) -> float:
        return 0.0 if restarted else max(0.0, now - then) / seconds

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
        # PgBouncer counts both from the client's request, so they include the wait for a server.
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
