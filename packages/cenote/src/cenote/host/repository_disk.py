"""The disk of a repository that is a directory of this host."""

from __future__ import annotations

import os
from pathlib import Path

from cenote.host import system
from cenote.model.status_records import DiskUse


def is_that_of(path: Path, data_dir: Path) -> bool:
    """Return whether a directory, or the place where it will be made, is on the disk of the data."""
    return os.stat(_there(path)).st_dev == os.stat(data_dir).st_dev


def use(path: Path) -> DiskUse:
    """Return the space on the disk of a directory; ``used_mib`` is unknown, and 0."""
    there = _there(path)
    return DiskUse(used_mib=0, free_mib=system.free_mib(there), disk_mib=system.disk_mib(there))


def _there(path: Path) -> Path:
    """Return the path, or the nearest folder around it that is there."""
    return next((one for one in (path, *path.parents) if one.is_dir()), Path("/"))
