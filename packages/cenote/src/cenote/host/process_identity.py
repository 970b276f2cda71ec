"""Whose a process is, where it works and what it runs, as the kernel says it."""

from __future__ import annotations

import os
from pathlib import Path


def runs_as(pid: int, user: int) -> bool:
    """Return whether a process has all its user ids from this user: real, effective, saved, file system."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return False
    [ids] = [line.split()[1:] for line in status.splitlines() if line.startswith(b"Uid:")]
    return {int(id) for id in ids} == {user}


def works_in(pid: int, directory: str, *, deeper: bool = False) -> bool:
    try:
        found = os.readlink(f"/proc/{pid}/cwd").removesuffix(" (deleted)")
    except OSError:
        return False
    return found == directory or (deeper and found.startswith(directory + "/"))


def executable_of(pid: int) -> str | None:
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe")).removesuffix(" (deleted)")
    except OSError:
        return None
