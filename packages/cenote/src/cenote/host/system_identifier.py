"""Changes the system identifier of a copied data directory.

Two clusters with the same identifier would accept each other's write-ahead log.  It is stored in
``pg_control``, protected by a CRC-32C (``src/include/catalog/pg_control.h``), and in the first page header of
each WAL segment (``XLogLongPageHeaderData`` in ``src/include/access/xlog_internal.h``).
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from typing import IO

from cenote.errors import CenoteError
from cenote.host import files

_LONG_HEADER = 0x0002  # XLP_LONG_HEADER
_SHORTEST, _LONGEST = 200, 512  # bytes between which the CRC of any version's ControlFileData starts


def _table() -> tuple[int, ...]:
    entries = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """Return the Castagnoli CRC of the data."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def new_identifier() -> int:
    """Return a new identifier: the time in the upper half, as with ``initdb``, random bits in the lower."""
    return (int(time.time()) << 32) | int.from_bytes(os.urandom(4), "big")


def read(data: Path) -> int:
    """Return the system identifier of a data directory."""
    identifier: int = struct.unpack_from("<Q", (data / "global" / "pg_control").read_bytes())[0]
    return identifier


def change(data: Path, identifier: int) -> None:
    """Set the system identifier of a stopped server's data directory, in which nobody else works.

    It can be done again after it was broken off.
    """
    control = data / "global" / "pg_control"
    content = bytearray(files.read(control) or b"")
    where = _crc_offset(bytes(content))
    struct.pack_into("<Q", content, 0, identifier)
    struct.pack_into("<I", content, where, crc32c(bytes(content[:where])))
    wal = data / "pg_wal"
    for name in files.names(wal):
        if len(name) == 24:
            with open(wal / name, "r+b", opener=files.to_change) as stream:
                header = stream.read(32)
                if struct.unpack_from("<H", header, 2)[0] & _LONG_HEADER:
                    stream.seek(24)
                    stream.write(struct.pack("<Q", identifier))
                    _sync(stream)
    with open(control, "r+b", opener=files.to_change) as stream:
        stream.write(content)
        _sync(stream)


def _sync(stream: IO[bytes]) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def check(content: bytes) -> None:
    """Raise CenoteError for a ``pg_control`` without a valid checksum."""
    _crc_offset(content)


def _crc_offset(content: bytes) -> int:
    """Return the offset of the CRC: the last field of a struct whose length differs between versions."""
    for offset in range(_SHORTEST, _LONGEST, 4):
        if struct.unpack_from("<I", content, offset)[0] == crc32c(content[:offset]):
            return offset
    raise CenoteError("pg_control has no valid checksum, so what it says is not to be relied on")
