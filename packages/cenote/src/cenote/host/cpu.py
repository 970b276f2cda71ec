"""What processors have done: all of the machine, and for one server with all its processes (proc(5))."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path
from typing import NamedTuple

from cenote.host import processes, system
from cenote.stats.observer import MachineNumbers

_TICKS = os.sysconf("SC_CLK_TCK")
# In the title that PostgreSQL gives to the process of a session: where its client is.
_SESSION = re.compile(rb"\[local\]|\d\(\d+\)")
_SHARE = 10  # a scan of all processes takes at most one part in so many of the time


class _Child(NamedTuple):
    parent: int
    ticks: int


class Efforts:
    """Reads them; calls may come from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scanned: dict[int, _Child] = {}
        self._good_until = 0.0

    def of(self, server: int | None) -> MachineNumbers:
        """Return what the machine has done, and the server with this pid, if any; OSError without /proc."""
        busy, idle = _machine()
        ticks, sessions = (0, 0) if server is None else self._server(server)
        return MachineNumbers(
            processors=system.cpus(), busy=busy, idle=idle, server=ticks / _TICKS, sessions=sessions
        )

    def _server(self, pid: int) -> tuple[int, int]:
        """Return the ticks of a server with what its children have used, and how many sessions it has.

        Of those that have ended, the server itself has the sum.
        """
        own = _stat(pid)
        if own is None:
            return 0, 0
        total, sessions = sum(own[1:5]), 0
        for child, ticks in self._children(pid).items():
            total += ticks
            sessions += bool(_SESSION.search(_title(child)))
        return total, sessions

    def _children(self, pid: int) -> dict[int, int]:
        try:
            named = Path(f"/proc/{pid}/task/{pid}/children").read_bytes().split()
        except OSError:  # not every kernel has this file
            return {child: one.ticks for child, one in self._scan().items() if one.parent == pid}
        found = {int(child): _stat(int(child)) for child in named}
        return {child: sum(stat[1:3]) for child, stat in found.items() if stat is not None}

    def _scan(self) -> dict[int, _Child]:
        """Return all processes, as they were a moment ago."""
        with self._lock:
            begin = time.monotonic()
            if begin >= self._good_until:
                found = {int(name): _stat(int(name)) for name in os.listdir("/proc") if name.isdigit()}
                self._scanned = {
                    pid: _Child(stat[0], sum(stat[1:3])) for pid, stat in found.items() if stat is not None
                }
                end = time.monotonic()
                self._good_until = end + _SHARE * (end - begin)
            return self._scanned


def _machine() -> tuple[float, float]:
    """Return the seconds that all processors were busy, and those that they were not."""
    line = Path("/proc/stat").read_bytes().split(b"\n", 1)[0]
    user, nice, kernel, idle, iowait, irq, softirq, steal = map(int, line.split()[1:9])
    # Waiting for a disk leaves a processor free; what the hypervisor gave to others was not to be had.
    return (user + nice + kernel + irq + softirq + steal) / _TICKS, (idle + iowait) / _TICKS


def _stat(pid: int) -> tuple[int, int, int, int, int] | None:
    """Return a process's parent, and its ticks: in user mode and system mode, and those of ended children."""
    fields = processes.stat_fields(pid)
    if fields is None:
        return None
    return int(fields[1]), int(fields[11]), int(fields[12]), int(fields[13]), int(fields[14])


def _title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it has just ended
