"""Resumes a paused pooler at the end of the pause, whatever has become of the process that asked for it.

PgBouncer does not take back a PAUSE whose client was killed.  So this process is started before each: it
reads the pause's file, and ends when that is gone or names another pause.  It runs as a script, without our
packages, since that takes half of the memory; it needs the standard library alone.

Without arguments it reads them as JSON from a line of its input: it was started before it was needed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

_POLL_SECONDS = 0.2
_ANSWER_SECONDS = 5.0
_GIVE_UP_SECONDS = 600.0  # of a pooler that does not answer
_LARGEST = 4096  # bytes of a pause's file
_PROTOCOL = 3 << 16


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def seconds_since_boot() -> float:
    """Return the time since the boot, with the time that the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@contextlib.contextmanager
def locked(folder: int) -> Iterator[None]:
    """Hold the lock of a cluster's folder, of which this is a descriptor; BlockingIOError if another does.

    Whoever ends a pause or begins one holds it, so that nobody's end meets another's beginning.
    """
    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)


def guard(socket_path: str, folder: str, name: str, id: str) -> None:
    """Wait for the end of the pause with this id, and resume the pooler unless its owner has done so."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    boot = boot_id()
    while (pause := _read(directory, name)).get("id") == id:
        over_for = seconds_since_boot() - float(pause["until"])
        if over_for > _GIVE_UP_SECONDS:
            return
        if over_for >= 0 or pause["boot"] != boot:
            with contextlib.suppress(OSError), locked(directory):
                if _read(directory, name) == pause:
                    _resume(socket_path)
                    os.unlink(name, dir_fd=directory)
        time.sleep(_POLL_SECONDS)


def _read(directory: int, name: str) -> dict[str, Any]:
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return {}
    try:
        found = json.loads(os.read(file, _LARGEST))
    except (OSError, ValueError):
        return {}
    finally:
        os.close(file)
    return found if isinstance(found, dict) else {}


def _resume(socket_path: str) -> None:
    """Run RESUME on PgBouncer's console, also for each pool that is paused by itself.

    One that is down, or not paused, has nothing to resume.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_SECONDS)
        with contextlib.suppress(ConnectionError, FileNotFoundError):
            connection.connect(socket_path)
            login = struct.pack("!i", _PROTOCOL) + b"user\0cenote\0database\0pgbouncer\0\0"
            connection.sendall(struct.pack("!i", len(login) + 4) + login)
            _answer(connection)
            _run(connection, b"RESUME")
            columns, *pools = _run(connection, b"SHOW DATABASES")
            name, paused = columns.index(b"name"), columns.index(b"paused")
            for pool in pools:
                if pool[paused] == b"1":
                    _run(connection, b'RESUME "' + pool[name].replace(b'"', b'""') + b'"')


def _run(connection: socket.socket, command: bytes) -> list[list[bytes]]:
    query = command + b"\0"
    connection.sendall(b"Q" + struct.pack("!i", len(query) + 4) + query)
    return _answer(connection)


def _answer(connection: socket.socket) -> list[list[bytes]]:
    """Wait until the console is ready; return the names of the columns, and the rows, if there are any."""
    found = []
    while True:
        kind = _received(connection, 1)
        body = _received(connection, struct.unpack("!i", _received(connection, 4))[0] - 4)
        if kind == b"T":
            found.append(_names(body))
        elif kind == b"D":
            found.append(_values(body))
        elif kind == b"Z":
            return found


def _names(body: bytes) -> list[bytes]:
    names, at = [], 2
    for _ in range(struct.unpack_from("!h", body)[0]):
        end = body.index(b"\0", at)
        names.append(body[at:end])
        at = end + 1 + 18  # the numbers of a column
    return names


def _values(body: bytes) -> list[bytes]:
    values, at = [], 2
    for _ in range(struct.unpack_from("!h", body)[0]):
        [size] = struct.unpack_from("!i", body, at)
        at += 4
        values.append(body[at : at + max(0, size)])  # -1 for NULL
        at += max(0, size)
    return values


def _received(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise ConnectionResetError
        found += part
    return found


if __name__ == "__main__":
    given = sys.argv[1:] or json.loads(sys.stdin.readline() or "[]")
    if given:
        print("ready", flush=True)
        guard(*given)
