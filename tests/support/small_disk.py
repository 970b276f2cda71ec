"""A file system of its own for a data directory, which can be full without the machine's being full."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cenote.host import system
from tests.support.waiting import wait_until

PAUSE = 0.1  # seconds between two looks at what is used
FULL_SECONDS = 20.0


@functools.cache
def may_mount() -> bool:
    """Return whether file systems can be mounted here: containers often have root without that right."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(RuntimeError):
        mount(Path(folder))
        unmount(Path(folder))
        return True
    return False


def mount(folder: Path) -> None:
    """Mount a file system in memory over an empty folder; it has the folder's owner and rights."""
    found = folder.stat()
    options = f"uid={found.st_uid},gid={found.st_gid},mode={found.st_mode & 0o7777:o}"
    _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


def mounted_below(folder: Path) -> list[Path]:
    """Return where something is mounted below a folder."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [path for line in lines if (path := Path(line.split()[1])).is_relative_to(folder)]


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Let a mounted file system have no room as long as the block runs, whatever is removed meanwhile."""
    done = threading.Event()
    shrinking = threading.Thread(target=_shrink, args=(folder, done))
    shrinking.start()
    try:
        wait_until(f"{folder} is full", FULL_SECONDS, lambda: system.free_mib(folder) == 0)
        yield
    finally:
        done.set()
        shrinking.join()
        _run("mount", "-o", "remount,size=50%", str(folder))


def _shrink(folder: Path, done: threading.Event) -> None:
    while not done.wait(PAUSE):
        found = os.statvfs(folder)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        with contextlib.suppress(RuntimeError):  # more was written meanwhile
            _run("mount", "-o", f"remount,size={used}", str(folder))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
