"""Room on a disk that a repository shares with the data: databases come first.  Pure.

Backups pause before the archive does, and that before writes are refused (``rules/storage.py``).
"""

from __future__ import annotations

from cenote.model.status_records import DiskUse
from cenote.rules import storage, sweep

_ARCHIVED = 2  # times the space that is kept free: with less, no WAL is archived


def least_free_mib(use: DiskUse) -> int:
    """Return the free space with less of which no WAL is put into the repository."""
    return _ARCHIVED * storage.reserve_mib(use)


def pause(use: DiskUse) -> str:
    """Return why no backup is made now, in words, "" if one can be."""
    if not sweep.is_nearly_full(use):
        return ""
    least = sweep.NEARLY_FULL * storage.reserve_mib(use)
    return (
        f"backups pause: their disk, which is that of the data, has {use.free_mib} MiB left, and is to have "
        f"{least}"
    )
