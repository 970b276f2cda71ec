"""What a node leaves on the machine when something happens in it, read without asking its servers.

A server that nobody uses writes no WAL and no file, and has no backend.  So while the trace of a node stays
the same, nothing has happened there that a pass would find.  The pass is saved, which takes connections,
queries and a walk through the data directory.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cenote.host import processes
from cenote.model.changes import Program
from cenote.model.processes import Process

LOG_STEP = 4 * 2**20  # bytes by which a log grows before that counts
FREE_ENOUGH = 10  # percent
_CLOCK_STEP = 5.0  # seconds by which the clock was set; certificates and windows are judged by it

# The titles of processes that a server has without any client (pg_stat_activity.backend_type); the title of a
# client's has more words.
_BACKGROUND = re.compile(
    r"checkpointer|background writer|walwriter|autovacuum launcher|logical replication launcher|logger"
    r"|stats collector|slotsync worker|io worker \d+|archiver( .*)?"
)


@dataclass(frozen=True, slots=True)
class Trace:
    """``processes`` are those of the servers; ``backends`` has the processor time of each backend.

    ``written`` is when WAL was last written, in nanoseconds; ``files`` are the files of the node and its
    pooler, other than the data itself.  ``free`` is how many percent of the disk are free, at most
    FREE_ENOUGH: others may fill it.
    """

    processes: tuple[Process, ...]
    backends: tuple[tuple[int, int], ...]
    written: int
    files: tuple[tuple[str, int, int, int], ...]
    free: int
    clock: float = field(compare=False)  # how far the wall clock is ahead of the monotonic one, in seconds

    def is_of_same_state(self, other: Trace | None) -> bool:
        return other is not None and self == other and abs(self.clock - other.clock) < _CLOCK_STEP


class Tracer:
    """Reads the traces of one node."""

    def __init__(self) -> None:
        self._background: set[Process] = set()

    def read(self, server: Program, pooler: Program, folders: tuple[Path, ...]) -> Trace | None:
        """Return the trace; None when a server does not run or is stopped, or the kernel does not say."""
        found = tuple(process for one in (server, pooler) if (process := processes.find(one)) is not None)
        if len(found) < 2 or any(processes.is_stopped(process) for process in found):
            return None
        try:
            return Trace(
                found,
                tuple(self._backends(found[0].pid)),
                _last_written(server.directory / "pg_wal"),
                (*_programs((server, pooler)), *(file for folder in folders for file in _files(folder))),
                _free(server.directory),
                time.time() - time.monotonic(),
            )
        except (OSError, ValueError):
            return None

    def _backends(self, postmaster: int) -> Iterator[tuple[int, int]]:
        """Yield each process that works for a client, with its processor time in clock ticks."""
        seen = set()
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text()
        for pid in map(int, children.split()):
            fields = processes.stat_fields(pid)
            if fields is None:
                continue
            process = Process(pid, int(fields[19]))
            if process in self._background or _is_background(pid):
                seen.add(process)
            else:
                yield pid, int(fields[11]) + int(fields[12])
        self._background = seen


def _is_background(pid: int) -> bool:
    """Judge by the title, which is ``postgres: [cluster_name: ]type`` without a client."""
    title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ").decode(errors="replace")
    return title.startswith("postgres: ") and _BACKGROUND.fullmatch(title.rpartition(": ")[2]) is not None


def _last_written(folder: Path) -> int:
    with os.scandir(folder) as entries:
        return max(entry.stat(follow_symlinks=False).st_mtime_ns for entry in entries)


def _free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return min(FREE_ENOUGH, 100 * disk.f_bavail // max(1, disk.f_blocks))


def _programs(programs: tuple[Program, ...]) -> Iterator[tuple[str, int, int, int]]:
    for program in programs:
        found = os.stat(program.argv[0])
        yield program.name, found.st_ino, found.st_ctime_ns, found.st_mode


def _files(folder: Path) -> Iterator[tuple[str, int, int, int]]:
    """Yield the folder and its files; of a log, how many steps long it is."""
    yield str(folder), 0, 0, folder.stat().st_mode
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            found = None
            with contextlib.suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
            if found is None or stat.S_ISDIR(found.st_mode):
                continue
            if entry.name.endswith(".log"):
                yield entry.name, found.st_ino, found.st_size // LOG_STEP, found.st_mode
            else:
                yield entry.name, found.st_ino, found.st_mtime_ns, found.st_mode
