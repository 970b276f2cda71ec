"""What the servers of a cluster say of themselves each second under faults: who takes writes.

Two servers that are no standbys at once are a double primary only if both acknowledge a write: one that was
frozen or cut off takes itself for the primary until it has learnt of the other one, and its commits wait for
standbys that follow it no more.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.trio import Trio

PAUSE = 1.0  # seconds between two samples
WRITE_SECONDS = 2  # that a server gets to acknowledge a write
TABLE = "CREATE TABLE IF NOT EXISTS sampled (at timestamptz)"
_ROLE = b"""
SELECT count(*) FILTER (WHERE sync_state = 'quorum')::int FROM pg_stat_replication
HAVING NOT pg_is_in_recovery()
"""
_ROW = b"INSERT INTO sampled VALUES (clock_timestamp())"


class Sampler:
    """``without_quorum`` are the seconds in which commits of the primary waited for no standby.

    ``unknown`` are those in which no server said that it takes writes, ``contested`` those in which two did,
    and ``doubles`` says in words when two acknowledged a write, too.
    """

    def __init__(self, cluster: Trio) -> None:
        self._cluster = cluster
        self.samples = 0
        self.without_quorum = self.unknown = self.contested = 0.0
        self.doubles: list[str] = []

    def figures(self) -> dict[str, float]:
        return {
            "seconds without quorum": self.without_quorum,
            "seconds without an answer on quorum": self.unknown,
            "seconds in which two said that they take writes": self.contested,
            "double primaries": float(len(self.doubles)),
        }

    @contextmanager
    def sampling(self) -> Iterator[None]:
        self._cluster.on_primary(TABLE, database="defaultdb")
        done = threading.Event()
        with ThreadPoolExecutor(len(self._cluster.hosts)) as threads:
            thread = threading.Thread(target=self._sample, args=(done, threads))
            thread.start()
            try:
                yield
            finally:
                done.set()
                thread.join()

    def _sample(self, done: threading.Event, threads: ThreadPoolExecutor) -> None:
        folders = [host.data_dir for host in self._cluster.hosts]
        while not done.wait(PAUSE):
            self.samples += 1
            counts = list(threads.map(_quorum_of, folders))
            known = [count for count in counts if count is not None]
            if not known:
                self.unknown += 1
            elif not any(known):
                self.without_quorum += 1
            if len(known) > 1:
                self.contested += 1
                writers = [
                    folder.name
                    for folder, wrote in zip(folders, threads.map(_writes, folders), strict=True)
                    if wrote
                ]
                if len(writers) > 1:
                    self.doubles.append(f"at sample {self.samples} there took writes: {', '.join(writers)}")


def _quorum_of(data_dir: Path) -> int | None:
    """Return how many standbys the primary of a host waits for; None where none takes writes."""
    for socket in _sockets(data_dir):
        with contextlib.suppress(psycopg.Error, ValueError), _connected(socket) as connection:
            row = connection.execute(_ROLE).fetchone()
            if row is not None:
                return int(row[0])
    return None


def _writes(data_dir: Path) -> bool:
    """Return whether a server of a host acknowledges a write, as clients get it."""
    for socket in _sockets(data_dir):
        warnings: list[object] = []
        with contextlib.suppress(psycopg.Error, ValueError), _connected(socket) as connection:
            connection.add_notice_handler(warnings.append)  # a wait for standbys that was given up
            connection.execute(_ROW)
            if not warnings:
                return True
    return False


def _sockets(data_dir: Path) -> list[Path]:
    return list((data_dir / "run").glob("*/.s.PGSQL.*"))


def _connected(socket: Path) -> psycopg.Connection:
    return psycopg.connect(
        host=str(socket.parent),
        port=int(socket.suffix.removeprefix(".")),
        user="postgres",
        dbname="defaultdb",
        connect_timeout=2,
        autocommit=True,
        options=f"-c statement_timeout={WRITE_SECONDS}s",
    )
