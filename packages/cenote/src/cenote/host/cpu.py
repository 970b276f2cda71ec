"""CPU time of the machine, and of one server with all its processes.

The times of a server's processes are read from /proc: psutil scans all processes for the children of one, and
builds an object for each, which takes more than twice as long with 500 sessions.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from cenote.host import processes, system
from cenote.stats.observer import MachineNumbers

_TICKS = os.sysconf("SC_CLK_TCK")
# The address of the client, in the process title that PostgreSQL sets for a session.
_SESSION = re.compile(rb"\[local\]|\d\(\d+\)")
_INTERVAL = 10  # scans of all processes are at least this many times their duration apart


class _Times(NamedTuple):
    parent: int
    own: int  # clock ticks, in user and system mode
    ended_children: int


class CpuUsage:
    """Reads CPU times; may be called from several threads."""

    def __init__(self) -> None:
        self._processes = ProcessTable()

    def read(self, server: int | None) -> MachineNumbers:
        """Return the CPU times of the machine and of the server with this pid; OSError without /proc."""
        times = psutil.cpu_times()
        ticks, sessions = (0, 0) if server is None else self._server(server)
        return MachineNumbers(
            processors=system.cpus(),
            # Time stolen by the hypervisor was not available; during iowait the processor is idle.
            busy=times.user + times.nice + times.system + times.irq + times.softirq + times.steal,
            idle=times.idle + times.iowait,
            server=ticks / _TICKS,
            sessions=sessions,
        )

    def _server(self, pid: int) -> tuple[int, int]:
        """Return the clock ticks of a server and all its children, and the number of its sessions."""
        own = _times(pid)
        if own is None:
            return 0, 0
        total, sessions = own.own + own.ended_children, 0
        for child, ticks in self._children(pid).items():
            total += ticks
            sessions += bool(_SESSION.search(_title(child)))
        return total, sessions

    def _children(self, pid: int) -> dict[int, int]:
        """Return the children of a process and their clock ticks."""
        try:
            pids = Path(f"/proc/{pid}/task/{pid}/children").read_bytes().split()
        except OSError:  # the kernel was built without this file
            return self._processes.children(pid)
        found = {int(child): _times(int(child)) for child in pids}
        return {child: times.own for child, times in found.items() if times is not None}


class ProcessTable:
    """All processes of the machine, scanned for at most a tenth of the time: scans are reused until then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._processes: dict[int, _Times] = {}
        self._next_scan = float("-inf")

    def children(self, pid: int) -> dict[int, int]:
        """Return the children of a process and their clock ticks."""
        with self._lock:
            begin = self._clock()
            if begin >= self._next_scan:
                found = {int(name): _times(int(name)) for name in os.listdir("/proc") if name.isdigit()}
                self._processes = {child: times for child, times in found.items() if times is not None}
                end = self._clock()
                self._next_scan = end + _INTERVAL * (end - begin)
            return {child: times.own for child, times in self._processes.items() if times.parent == pid}


def _times(pid: int) -> _Times | None:
    fields = processes.stat_fields(pid)
    if fields is None:
        return None
    parent, user, kernel, ended_user, ended_kernel = (int(fields[i]) for i in (1, 11, 12, 13, 14))
    return _Times(parent, user + kernel, ended_user + ended_kernel)


def _title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it has just ended
