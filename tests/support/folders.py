"""Temporary folders that servers of another account can reach."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cenote.host import files, processes
from tests.support import process_table, small_disk

IN_MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 4 << 30
PREFIX = "cntest-"
SETTLED_SECONDS = 60  # a folder that is younger may not be locked yet


@contextmanager
def server_folder(*, on_disk: bool = False) -> Iterator[Path]:
    """A folder that other accounts may pass through, removed at the end.

    pytest's own are below a folder that only its user may enter, and when that is root, PostgreSQL runs as
    somebody else.  The short name leaves room for the names of unix sockets.  The folder is locked while its
    process lives, which tells ``sweep`` whether it is in use.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=None if on_disk else _memory()))
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.chmod(folder, 0o711)  # noqa: S103
        yield folder
    finally:
        remove(folder)
        os.close(lock)


def sweep() -> None:
    """Remove the folders of killed tests, and end the servers that work in them."""
    for parent in {IN_MEMORY, Path(tempfile.gettempdir())}:
        for folder in parent.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                if time.time() - folder.stat().st_ctime > SETTLED_SECONDS:
                    remove_if_left(folder)


def remove_if_left(folder: Path) -> None:
    """Remove a folder with its servers; BlockingIOError when the process that made it lives."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for pid in {process.pid for process in processes.below(folder)} | _naming(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        remove(folder)
    finally:
        os.close(lock)


def remove(folder: Path) -> None:
    """Remove a folder, however deep; what cannot be removed is left to the next run."""
    for mounted in small_disk.mounted_below(folder):
        small_disk.unmount(mounted)
    with contextlib.suppress(OSError):
        files.remove(folder)


def _naming(folder: Path) -> set[int]:
    """Return the processes with this folder in their arguments, as the service has its data directory."""
    return {pid for pid, line in process_table.files("cmdline") if f"{folder}/".encode() in line}


def _memory() -> Path | None:
    """Where folders are in memory, when there is plenty of it and nobody has asked for another place.

    A cluster is 1,300 files: making and removing them is most of what a test on a disk does.
    """
    if "TMPDIR" in os.environ or not os.access(IN_MEMORY, os.W_OK):
        return None
    return IN_MEMORY if shutil.disk_usage(IN_MEMORY).free >= ENOUGH_BYTES else None
