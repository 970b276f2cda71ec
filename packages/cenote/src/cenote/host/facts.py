"""What a machine is: memory, processors, and the ports that somebody listens on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp


def memory_mib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def cpus() -> int:
    return len(os.sched_getaffinity(0))


def listening_ports() -> set[int]:
    """Return the TCP ports with a listener on any address of this machine."""
    return {port for port, _ in _listeners()}


def listening_sockets(pid: int) -> set[int]:
    """Return the TCP ports that this very process listens on."""
    own = set()
    for descriptor in os.scandir(f"/proc/{pid}/fd"):
        try:
            own.add(os.readlink(descriptor.path))
        except FileNotFoundError:
            continue
    return {port for port, inode in _listeners() if f"socket:[{inode}]" in own}


def _listeners() -> Iterator[tuple[int, str]]:
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except FileNotFoundError:  # a kernel without IPv6
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN:
                yield int(fields[1].rpartition(":")[2], 16), fields[9]
