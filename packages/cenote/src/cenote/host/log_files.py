"""The log files of servers: reading them, and giving the space of their beginnings back.

A server holds its log open for as long as it lives, and cannot be told of another file.  So a log is one file
that only ever grows, and what nobody needs any more is cut out of it as a hole, which takes no space
(fallocate(2)).  No line is lost by that, none moves, and a place in the log is a number that stays true.
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
from cenote.logs.messages import Message, messages
from cenote.logs.positions import LogExtent, LogPosition
from cenote.model.records import LogSource

TAIL = 2**20  # bytes that an answer may be taken from

_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02  # linux/falloc.h
_CURSOR = re.compile(r"(\d{1,20})-(\d{1,20})")
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


@dataclass(frozen=True, slots=True)
class Piece:
    """What was read of a log: from ``start`` on, with the file's number and size."""

    data: bytes = field(repr=False)
    start: int
    file: int
    size: int


def read(path: Path, start: int, most: int) -> Piece | None:
    """Return up to ``most`` bytes from ``start`` on, None when there is no log.

    Where the beginning has been cut out, the piece starts with the first whole line after that.
    """
    log = files.plain(path)
    if log is None:
        return None
    with log:
        number, size = os.fstat(log.fileno()).st_ino, os.fstat(log.fileno()).st_size
        try:
            there = os.lseek(log.fileno(), min(start, size), os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # there is nothing but a hole, or nothing at all
                raise
            return Piece(b"", size, number, size)
        data = os.pread(log.fileno(), most, there)
    if there > start:
        rest = data.lstrip(b"\0").partition(b"\n")[2]
        there, data = there + len(data) - len(rest), rest
    return Piece(data, there, number, size)


def end(path: Path) -> LogPosition:
    """Return where a log ends, as far as it is written."""
    log = files.plain(path)
    if log is None:
        return LogPosition()
    with log:
        found = os.fstat(log.fileno())
        return LogPosition(file=found.st_ino, at=found.st_size)


def tail(path: Path, source: LogSource, count: int, cursor: str = "") -> tuple[list[Message], str]:
    """Return the newest messages, the oldest of them first, and a cursor to ask for what comes after them.

    With a cursor, those after it; one of another file, or that is none, counts as no cursor.
    """
    whole = read(path, 2**62, 0)
    if whole is None:
        return [], ""
    known = _CURSOR.fullmatch(cursor)
    if known and int(known[1]) == whole.file and int(known[2]) <= whole.size:
        piece = read(path, int(known[2]), TAIL)
        assert piece is not None
        found = messages(piece.data, source, piece.start)[:count]
        there = piece.start + len(piece.data)
        # A line that is longer than the piece is passed over, or the cursor would stand before it for ever.
        end = found[-1].end if found else there if there < piece.size else piece.start
    else:
        begin = max(0, whole.size - TAIL)
        piece = read(path, begin, TAIL)
        assert piece is not None
        start, data = piece.start, piece.data
        if start == begin > 0:  # in the middle of a line, perhaps
            cut = data.find(b"\n") + 1
            start, data = start + cut, data[cut:]
        found = messages(data, source, start)[-count:]
        end = found[-1].end if found else start
    return found, f"{whole.file}-{end}"


def extent(path: Path) -> LogExtent | None:
    """Return which bytes of a log are there; None when there is no log."""
    log = files.plain(path)
    if log is None:
        return None
    with log:
        found = os.fstat(log.fileno())
        try:
            begin = os.lseek(log.fileno(), 0, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            begin = found.st_size  # there is nothing but a hole, or nothing at all
        return LogExtent(found.st_ino, begin, found.st_size)


def shorten(path: Path, keep_from: int, kept: int | None) -> None:
    """Cut the first ``keep_from`` bytes out of a log as a hole, as ``ShortenLog`` says."""
    with contextlib.suppress(FileNotFoundError), open(path, "r+b", opener=files.opened) as log:
        if _libc.fallocate(log.fileno(), _KEEP_SIZE | _PUNCH_HOLE, 0, keep_from) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise OSError(number, os.strerror(number), str(path))
        if kept is not None:
            files.keep_short(path, kept)
