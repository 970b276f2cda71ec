"""Reads ``pg_control``: how a server has ended, as it wrote it itself."""

from __future__ import annotations

import struct
from pathlib import Path

from cenote.host import files, system_identifier

_SHUT_DOWN = 1  # DBState in src/include/catalog/pg_control.h; a standby that was shut down has another one
_STATE, _CHECKPOINT = 16, 32  # offsets, the same since PostgreSQL 11


def shut_down_at(data: Path) -> int:
    """Return the position in the WAL of the checkpoint with which a server has ended, in bytes.

    0 for one that runs, has crashed, or was a standby.  CenoteError for a file without a valid checksum.
    """
    content = files.read(data / "global" / "pg_control")
    if content is None:
        return 0
    system_identifier.check(content)
    [state] = struct.unpack_from("<I", content, _STATE)
    [position] = struct.unpack_from("<Q", content, _CHECKPOINT)
    return int(position) if state == _SHUT_DOWN else 0
