"""The process of an etcd of ours: found by its working directory, and waited for, a child or not."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from cenote.store import etcd_options


def command_of(pid: int, directory: Path) -> list[bytes] | None:
    """Return its command line; None unless it is alive and the etcd of ``directory``."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        folder = os.stat(f"/proc/{pid}/cwd")
        ours = directory.stat()
    except OSError:
        return None
    # The kernel tells our side that a program was replaced a moment before it has the new command line.
    starting = command == [b""]
    here = (folder.st_dev, folder.st_ino) == (ours.st_dev, ours.st_ino)
    return command if state not in "ZX" and here and (starting or etcd_options.is_ours(command)) else None


def find(directory: Path) -> int | None:
    """Return the pid of the etcd of ``directory``, if one runs."""
    numbers = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return next((number for number in numbers if command_of(number, directory) is not None), None)


async def exit_of(pid: int) -> None:
    """Wait until the process has exited, whether it is our child or not."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    reap(pid)


def reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
