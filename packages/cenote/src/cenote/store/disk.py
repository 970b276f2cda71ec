"""The disk of the private etcd: whether it is full, in words."""

from __future__ import annotations

import os
from pathlib import Path

LEAST_MIB = 96  # etcd allocates its log in files of 64 MiB


def full(folder: Path) -> str | None:
    """Return that the disk of a folder is full and how much is free, None if it is not."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    free_mib = found.f_bavail * found.f_frsize >> 20
    if free_mib >= LEAST_MIB:
        return None
    return f"the disk of {folder} is full ({free_mib} MiB free)"
