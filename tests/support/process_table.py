"""The processes of the machine, any of which may end while they are looked at: they are passed over then.

For looking through many.  A test of one process that has to be there reads ``/proc`` itself, so that it fails
when the process has ended.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def files(name: str, among: Iterable[int] | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield the content of a file in ``/proc`` of all processes, or of these, as far as it can be read."""
    for pid in pids() if among is None else among:
        with contextlib.suppress(OSError):
            yield pid, Path(f"/proc/{pid}", name).read_bytes()


def command_lines(among: Iterable[int] | None = None) -> dict[int, list[str]]:
    """Return the arguments of all processes, or of these; those of a zombie are empty."""
    found = {pid: content.decode(errors="replace") for pid, content in files("cmdline", among)}
    # One that has named itself need not end with a zero.
    return {pid: line.removesuffix("\0").split("\0") if line else [] for pid, line in found.items()}


def naming(word: str, among: Iterable[int]) -> list[int]:
    """Return those of these processes with a word in their arguments, as PostgreSQL's name themselves."""
    return [pid for pid, line in files("cmdline", among) if word.encode() in line]


def directories(among: Iterable[int] | None = None) -> dict[int, Path]:
    """Return where all processes work, or these."""
    found = {}
    for pid in pids() if among is None else among:
        with contextlib.suppress(OSError):
            found[pid] = Path(os.readlink(f"/proc/{pid}/cwd"))
    return found


def owners(among: Iterable[int]) -> set[int]:
    """Return the users that these run as."""
    found = set()
    for pid in among:
        with contextlib.suppress(OSError):
            found.add(os.stat(f"/proc/{pid}").st_uid)
    return found


def open_files(pid: int) -> set[str]:
    """Return what a process has open, without what it closes meanwhile."""
    found = set()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/{pid}/fd/{entry}"))
    return found
