"""The log files of servers: reading them, and freeing the space of old messages.

A server holds its log open until it ends, and cannot be switched to another file.  So a log is one file that
only grows, and old messages are removed by punching a hole (fallocate(2)), which takes no space.  No line is
lost by that, and offsets into the log stay valid.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from cenote.host import files
from cenote.logs.filters import ALL, LogFilter
from cenote.logs.messages import Message, parse_messages
from cenote.logs.positions import LogExtent, LogPosition
from cenote.model.records import LogSource

TAIL = 2**20  # bytes of a log that are read at a time
SEARCHED = 8 * TAIL  # bytes that ``tail`` looks through for messages of which only some are wanted

_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02  # linux/falloc.h
_CURSOR = re.compile(r"(\d{1,20})-(\d{1,20})")
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes read from a log at ``start``, with the file's inode number and size."""

    data: bytes = field(repr=False)
    start: int
    file: int
    size: int


def read(path: Path, start: int, limit: int) -> Chunk | None:
    """Return up to ``limit`` bytes from ``start`` on, None if there is no log.

    If ``start`` is in the hole, the chunk starts with the first complete line after the hole.
    """
    log = files.open_regular(path)
    if log is None:
        return None
    with log:
        number, size = os.fstat(log.fileno()).st_ino, os.fstat(log.fileno()).st_size
        try:
            offset = os.lseek(log.fileno(), min(start, size), os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # only a hole, or empty
                raise
            return Chunk(b"", size, number, size)
        data = os.pread(log.fileno(), limit, offset)
    if offset > start:
        rest = data.lstrip(b"\0").partition(b"\n")[2]
        offset, data = offset + len(data) - len(rest), rest
    return Chunk(data, offset, number, size)


def end(path: Path) -> LogPosition:
    """Return the position of the end of a log."""
    log = files.open_regular(path)
    if log is None:
        return LogPosition()
    with log:
        found = os.fstat(log.fileno())
        return LogPosition(file=found.st_ino, at=found.st_size)


def tail(
    path: Path, source: LogSource, count: int, cursor: str = "", wanted: LogFilter = ALL
) -> tuple[list[Message], str]:
    """Return the newest messages that are wanted, oldest first, and a cursor for the following ones.

    With a cursor, return the messages after it; an invalid one, or one of another file, is ignored.
    Messages of which only some are wanted are looked for in the last ``SEARCHED`` bytes.
    """
    log = read(path, 2**62, 0)
    if log is None:
        return [], ""
    known = _CURSOR.fullmatch(cursor)
    if known and int(known[1]) == log.file and int(known[2]) <= log.size:
        chunk = read(path, int(known[2]), TAIL)
        assert chunk is not None
        found = parse_messages(chunk.data, source, chunk.start)[:count]
        offset = chunk.start + len(chunk.data)
        # A line longer than the chunk is skipped, or the cursor would never get past it.
        end = found[-1].end if found else offset if offset < chunk.size else chunk.start
    else:
        start, data = _part_before(path, log.size)
        newest = parse_messages(data, source, start)
        end = newest[-1].end if newest else start
        found = wanted.select(newest)
        floor = max(0, log.size - SEARCHED) if wanted else log.size
        while len(found) < count and start > floor:
            before, data = _part_before(path, start)
            if before >= start:
                break
            if wanted.may_match(data):
                found = wanted.select(parse_messages(data, source, before)) + found
            start = before
        return found[-count:], f"{log.file}-{end}"
    return wanted.select(found), f"{log.file}-{end}"


def _part_before(path: Path, end: int) -> tuple[int, bytes]:
    """Return up to ``TAIL`` bytes of a log before a position, from the start of a line on, and its place."""
    begin = max(0, end - TAIL)
    chunk = read(path, begin, end - begin)
    if chunk is None:
        return end, b""
    start, data = chunk.start, chunk.data
    if start == begin > 0:  # perhaps in the middle of a line
        cut = data.find(b"\n") + 1
        start, data = start + cut, data[cut:]
    return start, data[: max(0, end - start)]


def extent(path: Path) -> LogExtent | None:
    """Return the range of a log that still has data; None if there is no log."""
    log = files.open_regular(path)
    if log is None:
        return None
    with log:
        found = os.fstat(log.fileno())
        try:
            begin = os.lseek(log.fileno(), 0, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            begin = found.st_size  # only a hole, or empty
        return LogExtent(found.st_ino, begin, found.st_size)


def shorten(path: Path, keep_from: int, kept: int | None) -> None:
    """Punch a hole over the first ``keep_from`` bytes of a log, as described in ``ShortenLog``."""
    with contextlib.suppress(FileNotFoundError), open(path, "r+b", opener=files.to_change) as log:
        if _libc.fallocate(log.fileno(), _KEEP_SIZE | _PUNCH_HOLE, 0, keep_from) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise OSError(number, os.strerror(number), str(path))
        if kept is not None:
            files.copytruncate(path, kept)
