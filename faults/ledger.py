"""``python -m faults.ledger FILE FIRST COUNT URI …``: writes rows through pools, and notes their fate.

A process of its own, since the judge of a failover must not be slowed down by it.  Each line of the file is
synced before the next row of its writer.  ``+`` for a row that was acknowledged: when (monotonic seconds),
the writer, the number, the timeline of the server, and when it was sent; ``-`` for a query that failed: when,
the writer, and why.  A row whose commit only gave up waiting for a standby is no acknowledged one.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.errors import Diagnostic

INSERT = b"""
INSERT INTO ledger VALUES (%s, %s)
RETURNING ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int
"""
PAUSE = 0.005  # seconds between two rows of a writer
_PREPARED = "LEDGER_PREPARE_THRESHOLD"
AGAIN = 0.05  # seconds after a failure


@dataclass(frozen=True, slots=True)
class Row:
    at: float
    writer: int
    number: int
    timeline: int
    sent: float


@dataclass(frozen=True, slots=True)
class Failure:
    at: float
    writer: int
    why: str


class Ledger:
    """The file of a ledger that is being written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = 0
        self._rows: list[Row] = []
        self._failures: list[Failure] = []

    def read(self) -> tuple[list[Row], list[Failure]]:
        """Return what it has so far; a line that is just being written is left out.

        Only what is new is read: a judge that reads all of it again and again takes the processors from
        what it measures.
        """
        with self._path.open("rb") as file:
            file.seek(self._end)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._end += len(whole)
        for line in whole.decode().split("\n")[:-1]:
            sign, at, writer, rest = line.split(" ", 3)
            if sign == "+":
                number, timeline, sent = rest.split()
                self._rows.append(Row(float(at), int(writer), int(number), int(timeline), float(sent)))
            else:
                self._failures.append(Failure(float(at), int(writer), rest))
        return list(self._rows), list(self._failures)


def longest_gap(rows: Sequence[Row], since: float, until: float) -> float:
    """Return the longest time in which no row of any writer was acknowledged."""
    times = [since, *sorted(row.at for row in rows if since <= row.at <= until), until]
    return max(after - before for before, after in itertools.pairwise(times))


def on_two_timelines(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of a timeline that were sent after the first one of a later timeline was acknowledged.

    One that was sent before may have been committed before, and its answer come late, as from a frozen node.
    """
    first: dict[int, float] = {}
    for row in rows:
        first[row.timeline] = min(first.get(row.timeline, row.at), row.at)
    return [row for row in rows if any(line > row.timeline and at < row.sent for line, at in first.items())]


@contextmanager
def writing(
    path: Path, writers: range, uris: Sequence[str], command: Sequence[str] = (), *, prepared: bool = False
) -> Iterator[Ledger]:
    """Write as long as the block runs; ``command`` is what runs the process, such as in a namespace.

    ``prepared``: the statement is prepared, once for each connection.
    """
    path.touch()
    process = subprocess.Popen(
        [
            *command,
            sys.executable,
            "-m",
            "faults.ledger",
            str(path),
            str(writers.start),
            str(len(writers)),
            *uris,
        ],
        stdin=subprocess.PIPE,
        env=os.environ | {_PREPARED: "0"} if prepared else None,
    )
    try:
        yield Ledger(path)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=60)


class _Writer(threading.Thread):
    def __init__(self, number: int, uri: str, file: int, end: threading.Event) -> None:
        super().__init__(daemon=True)
        self._number, self._uri, self._file, self._end = number, uri, file, end

    def run(self) -> None:
        row = 0
        while not self._end.is_set():
            try:
                with psycopg.connect(
                    self._uri, autocommit=True, connect_timeout=30, prepare_threshold=_threshold()
                ) as connection:
                    warnings: list[str] = []

                    def warned(found: Diagnostic, warnings: list[str] = warnings) -> None:
                        warnings.append(str(found.message_primary))

                    connection.add_notice_handler(warned)
                    while not self._end.is_set():
                        row += 1
                        sent = time.monotonic()
                        answer = connection.execute(INSERT, (self._number, row)).fetchone()
                        if warnings:
                            self._note("-", warnings.pop())
                        elif answer is not None:
                            self._note("+", f"{row} {answer[0]} {sent:.4f}")
                        time.sleep(PAUSE)
            except psycopg.Error as error:
                self._note("-", " ".join(str(error).split()))
                time.sleep(AGAIN)

    def _note(self, sign: str, what: str) -> None:
        os.write(self._file, f"{sign} {time.monotonic():.4f} {self._number} {what}\n".encode())
        os.fdatasync(self._file)


def _threshold() -> int | None:
    found = os.environ.get(_PREPARED)
    return None if found is None else int(found)


def main(path: str, first: str, count: str, *uris: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    end = threading.Event()
    numbers = range(int(first), int(first) + int(count))
    threads = [_Writer(number, uris[number % len(uris)], file, end) for number in numbers]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    end.set()
    for thread in threads:
        thread.join(20)


if __name__ == "__main__":
    main(*sys.argv[1:])
