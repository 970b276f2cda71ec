"""The machine: memory, processors, disks, PostgreSQL's libraries, and listening sockets.

Listening sockets are read from /proc/net, since psutil reads the descriptors of every process for them, which
takes several times as long with 480 processes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TypeAlias

import psutil

from cenote.errors import CenoteError
from cenote.host import safe_open
from cenote.model.status_records import DiskUse

DEEPEST = 32  # folders within one another whose size is measured; PostgreSQL has four
DISK_FULL_MIB = 32  # PostgreSQL needs two WAL segments to start
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ESTABLISHED, _LISTEN = "01", "0A"  # states in /proc/net/tcp
_ACCEPTS_CONNECTIONS = 1 << 16  # __SO_ACCEPTCON in /proc/net/unix

IPAddress: TypeAlias = IPv4Address | IPv6Address


def memory_mib() -> int:
    return psutil.virtual_memory().total // 2**20


def cpus() -> int:
    """Return the number of processors that this process may run on, which may be fewer than there are."""
    return len(os.sched_getaffinity(0))


def libraries(binaries: Path) -> tuple[str, ...]:
    """Return the loadable libraries in the library folders beside a PostgreSQL's folder of programs."""
    folders = (binaries.parent / "lib", binaries.parent / "lib64", binaries.parent / "lib" / "postgresql")
    return tuple(sorted({path.stem for folder in folders for path in folder.glob("*.so")}))


def listening_ports() -> set[int]:
    """Return the TCP ports with a listener on any address of this machine."""
    return {port for _, port, _ in _listeners()}


def connected_ports() -> set[int]:
    """Return the local TCP ports of this machine that somebody is connected to, or from."""
    return {port for _, port, _ in _sockets(_ESTABLISHED)}


def listening_sockets(pid: int) -> set[int]:
    """Return the TCP ports that a process listens on; CenoteError where we may not see them."""
    try:
        own = _open_files(pid)
    except PermissionError:
        raise CenoteError(
            "the service may not see the ports of its servers: as root it needs the capability SYS_PTRACE"
        ) from None
    return {port for _, port, inode in _listeners() if f"socket:[{inode}]" in own}


def _open_files(pid: int) -> set[str]:
    found = set()
    for descriptor in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(descriptor.path))
    return found


def free_mib(folder: Path) -> int:
    """Return the space available to unprivileged users on the file system of a folder."""
    with safe_open.folder(folder) as opened:
        disk = os.fstatvfs(opened)
    return disk.f_bavail * disk.f_frsize // 2**20


def full_disk(folder: Path) -> str:
    """Return in words that the file system of a folder is full, "" while it is not."""
    free = free_mib(folder)
    return f"the disk is full ({free} MiB free)" if free < DISK_FULL_MIB else ""


def disk_mib(folder: Path) -> int:
    """Return the size of the file system of a folder."""
    with safe_open.folder(folder) as opened:
        disk = os.fstatvfs(opened)
    return disk.f_blocks * disk.f_frsize // 2**20


def disk_use(folder: Path) -> DiskUse:
    """Return the space used by a folder, and the free space and size of its file system.

    Of a server's data, WAL that waits for the archive does not count: no customer has put it there.  Files
    may be created and removed meanwhile.
    """
    with safe_open.folder(folder, os.O_RDONLY) as opened:
        used = (_blocks(opened, DEEPEST) - _blocks_to_archive(opened)) * 512
        disk = os.fstatvfs(opened)
    return DiskUse(
        used_mib=used // 2**20,
        free_mib=disk.f_bavail * disk.f_frsize // 2**20,
        disk_mib=disk.f_blocks * disk.f_frsize // 2**20,
    )


def _blocks(folder: int, depth: int) -> int:
    """Return the blocks of what is in an open folder; a link that is put there meanwhile is not followed."""
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                total += entry.stat(follow_symlinks=False).st_blocks
                if depth > 0 and entry.is_dir(follow_symlinks=False):
                    total += _blocks_below(folder, entry.name, depth)
    return total


def _blocks_to_archive(data: int) -> int:
    """Return the blocks of the WAL in an open data directory that is not archived yet; 0 elsewhere."""
    total = 0
    with (
        contextlib.suppress(OSError),
        _folder_in(data, "pg_wal") as wal,
        _folder_in(wal, "archive_status") as status,
    ):
        with os.scandir(status) as entries:
            names = [entry.name.removesuffix(".ready") for entry in entries if entry.name.endswith(".ready")]
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(name, dir_fd=wal, follow_symlinks=False).st_blocks
    return total


@contextlib.contextmanager
def _folder_in(folder: int, name: str) -> Iterator[int]:
    opened = os.open(name, _FOLDER, dir_fd=folder)
    try:
        yield opened
    finally:
        os.close(opened)


def _blocks_below(folder: int, name: str, depth: int) -> int:
    try:
        inner = os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:  # it has become a link
            return 0
        raise
    try:
        return _blocks(inner, depth - 1)
    finally:
        os.close(inner)


def is_port_taken(addresses: Iterable[str], port: int) -> bool:
    """Return whether a listener keeps us from this port of any of these addresses.

    Read from the kernel's table, since trying to bind would take the port for a moment.  A listener on ``::``
    is taken to serve IPv4 as well; the table does not say.
    """
    there = [address for address, _, _ in _sockets(_LISTEN, port)]
    return any(_conflict(ip_address(wanted), other) for wanted in addresses for other in there)


def _conflict(wanted: IPAddress, other: IPAddress) -> bool:
    if wanted.version != other.version:
        return other.version == 6 and other.is_unspecified
    return wanted == other or wanted.is_unspecified or other.is_unspecified


def has_listener(path: Path) -> bool:
    """Return whether a process listens on a unix socket."""
    name = str(path).encode()
    with open("/proc/net/unix", "rb") as table:
        for line in table:
            # Number, references, protocol, flags, type, state, inode, path (proc(5)).
            fields = line.rstrip(b"\n").split(maxsplit=7)
            if len(fields) == 8 and fields[7] == name and int(fields[3], 16) & _ACCEPTS_CONNECTIONS:
                return True
    return False


def _listeners() -> Iterator[tuple[IPAddress, int, str]]:
    return _sockets(_LISTEN)


def _sockets(state: str, port: int | None = None) -> Iterator[tuple[IPAddress, int, str]]:
    """Yield local address, port and inode of each TCP socket in a state, all or of one port (proc(5))."""
    mark = ":" if port is None else f":{port:04X} "  # most lines are told apart without taking them to pieces
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except FileNotFoundError:  # a kernel without IPv6
            continue
        for line in lines:
            if mark not in line:
                continue
            fields = line.split()
            address, _, found = fields[1].rpartition(":")
            if fields[3] == state and port in (None, int(found, 16)):
                yield _address(address), int(found, 16), fields[9]


def _address(text: str) -> IPAddress:
    """Read an address of the table: words of 32 bits in hexadecimal, each in the machine's byte order."""
    words = [int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8)]
    address = ip_address(b"".join(words))
    # A socket for both protocols may be bound to an IPv4 address (RFC 4291, 2.5.5.2).
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
