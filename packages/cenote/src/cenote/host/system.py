"""What a machine is: memory, processors, libraries, and the ports that somebody listens on."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cenote.rules.storage import Use

_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp


def memory_mib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def cpus() -> int:
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class OwnProcess:
    cpu_seconds: float
    resident_bytes: int
    virtual_bytes: int
    open_files: int
    most_files: int


def own_process() -> OwnProcess:
    """Return what this process takes of the machine."""
    virtual, resident = Path("/proc/self/statm").read_text().split()[:2]
    page = os.sysconf("SC_PAGE_SIZE")
    return OwnProcess(
        cpu_seconds=time.process_time(),
        resident_bytes=int(resident) * page,
        virtual_bytes=int(virtual) * page,
        open_files=len(os.listdir("/proc/self/fd")),
        most_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )


def libraries(binaries: Path) -> tuple[str, ...]:
    """Return what a PostgreSQL whose programs stand here could load, as far as that stands beside them."""
    folders = (binaries.parent / "lib", binaries.parent / "lib64", binaries.parent / "lib" / "postgresql")
    return tuple(sorted({path.stem for folder in folders for path in folder.glob("*.so")}))


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


def free_mib(folder: Path) -> int:
    """Return how much room the servers have left on the file system of a folder."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize // 2**20


def disk_use(folder: Path) -> Use:
    """Return what a folder takes and what is left beside it.  Files may come and go meanwhile."""
    found = os.statvfs(folder)
    return Use(
        used_mib=_blocks(folder) * 512 // 2**20,
        free_mib=found.f_bavail * found.f_frsize // 2**20,
        disk_mib=found.f_blocks * found.f_frsize // 2**20,
    )


def _blocks(folder: str | Path) -> int:
    total = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_blocks
                if entry.is_dir(follow_symlinks=False):
                    total += _blocks(entry.path)
    return total


def can_listen(addresses: Iterable[str], port: int) -> bool:
    """Return whether nobody listens on this port of any of these addresses of ours."""
    for address in addresses:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if probe.family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False
    return True


def answers(path: Path) -> bool:
    """Return whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # its queue is full, so there is one
            return True
        except OSError:
            return False
    return True


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
