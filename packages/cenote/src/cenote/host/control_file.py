"""Reads ``pg_control``: how a server has ended, and what it needs to go on, as it wrote it itself.

And the major version of its data.
"""

from __future__ import annotations

import struct
from pathlib import Path

from cenote.errors import CenoteError
from cenote.host import files, system_identifier

_SHUT_DOWN = 1  # DBState in src/include/catalog/pg_control.h; a standby that was shut down has another one
_VERSION, _STATE, _CHECKPOINT, _TIMELINE, _SETTINGS = (
    8,
    16,
    32,
    48,
    180,
)  # offsets, the same since PostgreSQL 11
_VERSIONS = range(1100, 1900)  # with these offsets
# In the order of the file.  A server that replays WAL needs at least what the server that wrote it had.
_NAMES = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)


def shut_down_at(data: Path) -> int:
    """Return the position in the WAL of the checkpoint with which a server has ended, in bytes.

    0 for one that runs, has crashed, or was a standby.  CenoteError for a file without a valid checksum.
    """
    content = _checked(data)
    if content is None:
        return 0
    [state] = struct.unpack_from("<I", content, _STATE)
    [position] = struct.unpack_from("<Q", content, _CHECKPOINT)
    return int(position) if state == _SHUT_DOWN else 0


def major_version(data: Path) -> str:
    """Return the major version of a data directory, "" without one."""
    words = (files.read(data / "PG_VERSION") or b"").split()
    return words[0].decode() if words and words[0].isdigit() and len(words[0]) < 4 else ""


def system(data: Path) -> str:
    """Return the system identifier of a data directory, "" without one."""
    content = _checked(data)
    return "" if content is None else str(struct.unpack_from("<Q", content, 0)[0])


def timeline(data: Path) -> int:
    """Return the timeline of the last checkpoint; CenoteError without a file that says so."""
    content = _checked(data)
    if content is None:
        raise CenoteError(f"there is no pg_control in {data}")
    return int(struct.unpack_from("<I", content, _TIMELINE)[0])


def least_settings(data: Path) -> dict[str, int]:
    """Return the settings below whose values here a server that replays WAL does not start, or pauses.

    Empty without the file, and for that of a version that is not known.  CenoteError for one without a valid
    checksum.
    """
    content = _checked(data)
    if content is None:
        return {}
    [version] = struct.unpack_from("<I", content, _VERSION)
    if version not in _VERSIONS:
        return {}
    values = struct.unpack_from(f"<{len(_NAMES)}i", content, _SETTINGS)
    return dict(zip(_NAMES, values, strict=True))


def _checked(data: Path) -> bytes | None:
    """Return the file, None without one; read again if it was being written."""
    for is_last in (False, False, True):
        content = files.read(data / "global" / "pg_control")
        if content is None:
            return None
        try:
            system_identifier.check(content)
        except CenoteError:
            if is_last:
                raise
        else:
            return content
    raise AssertionError
