"""Ports that are locked: no other process of tests, of this run or of another one, gets the same ones.

A lock covers one byte of a file for each port (see ``fcntl(2)``, advisory record locks).  The kernel releases
it when the process ends, however it ends, and the servers that it has started do not inherit it.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import random
import socket
from pathlib import Path

# Not below TMPDIR: runs with different ones share the ports of the machine all the same.
LOCKS = Path("/tmp/cenote-test-ports.lock")
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST, _END = 10_000, 1 << 16

_taken: set[int] = set()  # a process does not wait for its own locks


def free_range(count: int) -> int:
    """Return the first of ``count`` ports in a row, an even one; they are this process's until it ends."""
    ports = allowed()
    starts = range(ports.start, ports.stop - count + 1, 2)
    # A generator of its own: the global one is seeded alike in every worker.
    offset = random.Random(os.urandom(8)).randrange(len(starts))
    for number in range(len(starts)):
        first = starts[(offset + number) % len(starts)]
        if _take(range(first, first + count)):
            return first
    raise RuntimeError(f"no {count} ports in a row are free between {ports.start} and {ports.stop - 1}")


def give_back(first: int, count: int) -> None:
    """Let others have the ports of a range that nothing uses any more."""
    _taken.difference_update(range(first, first + count))
    fcntl.lockf(_locks(), fcntl.LOCK_UN, count, first)


@functools.cache
def allowed() -> range:
    """Return the ports that no outgoing connection takes: the larger side of the kernel's ephemeral range."""
    low, high = (int(port) for port in EPHEMERAL.read_text().split())
    return max(range(_FIRST, low), range(high + 1, _END), key=len) or range(_FIRST, _END)


def _take(ports: range) -> bool:
    if not _taken.isdisjoint(ports):
        return False
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, len(ports), ports.start)
    except (BlockingIOError, PermissionError):  # which of the two depends on the system
        return False
    if not all(_is_free(port) for port in ports):
        fcntl.lockf(_locks(), fcntl.LOCK_UN, len(ports), ports.start)
        return False
    _taken.update(ports)
    return True


@functools.cache
def _locks() -> int:
    """Open the file for as long as this process lives: closing a descriptor of it releases all locks."""
    while True:
        try:
            # Without O_CREAT, which the kernel refuses for a file of another user in a sticky folder.
            return os.open(LOCKS, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            made = Path(f"{LOCKS}.{os.getpid()}")
            made.touch()
            made.chmod(0o666)
            try:
                os.link(made, LOCKS)
            except FileExistsError:
                pass  # another process was faster
            finally:
                made.unlink()


def _is_free(port: int) -> bool:
    return _can_bind(socket.AF_INET, "0.0.0.0", port) and _can_bind(socket.AF_INET6, "::", port)


def _can_bind(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        probe = socket.socket(family)
    except OSError:
        return True  # nobody listens by a protocol that this machine lacks
    with probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
        except OSError as error:
            return family == socket.AF_INET6 and error.errno == errno.EADDRNOTAVAIL
    return True
