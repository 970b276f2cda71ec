"""Copies a directory tree out of the hands of another account.

That account may change the tree while it is read.  So what is copied is what was opened: regular files and
directories of that account, nothing with a second name, and no more than a data directory can be.  The copy
has files of its own, so whoever still holds one of the source open cannot change it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cenote.errors import CenoteError
from cenote.host import safe_open

DEEPEST = 16
MOST_FILES = 20_000
MOST_BYTES = 2**30
_CHUNK = 2**20


class _Budget:
    """What may still be copied."""

    def __init__(self) -> None:
        self.files, self.bytes = MOST_FILES, MOST_BYTES

    def take(self, size: int) -> None:
        self.files -= 1
        self.bytes -= size
        if self.files < 0 or self.bytes < 0:
            raise CenoteError("a new data directory is far too large")


def copy(source: Path, target: Path, user: int) -> None:
    """Copy a tree of this user; CenoteError if there is anything in it that no data directory has.

    All directories of the copy get the mode 0700, all files 0600.
    """
    opened = safe_open.open_path(source, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _check(opened, source.name, user)
        target.mkdir(mode=0o700)
        with safe_open.folder(target) as made:
            _copy_directory(opened, made, user, _Budget(), DEEPEST)
    finally:
        os.close(opened)


def _copy_directory(source: int, target: int, user: int, budget: _Budget, depth: int) -> None:
    if depth == 0:
        raise CenoteError("a new data directory is far too deep")
    with os.scandir(source) as entries:
        for entry in entries:
            _copy_entry(source, target, entry.name, user, budget, depth)


def _copy_entry(source: int, target: int, name: str, user: int, budget: _Budget, depth: int) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        opened = os.open(name, flags, dir_fd=source)
    except OSError as error:  # a link, or a socket
        raise CenoteError(f"a new data directory has {name!r} in it: {error.strerror}") from None
    try:
        found = _check(opened, name, user)
        budget.take(found.st_size)
        if stat.S_ISDIR(found.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            made = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target)
            try:
                _copy_directory(opened, made, user, budget, depth - 1)
            finally:
                os.close(made)
        else:
            _copy_file(opened, target, name, found.st_size)
    finally:
        os.close(opened)


def _check(opened: int, name: str, user: int) -> os.stat_result:
    """Return the status of what was opened; CenoteError unless it is the user's directory or plain file."""
    found = os.fstat(opened)
    is_file = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    if found.st_uid != user or not (is_file or stat.S_ISDIR(found.st_mode)):
        raise CenoteError(f"a new data directory has {name!r} in it, which is not what it should be")
    return found


def _copy_file(opened: int, target: int, name: str, size: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(name, flags, 0o600, dir_fd=target), "wb", buffering=0) as made:
        while size > 0 and (chunk := os.read(opened, min(size, _CHUNK))):
            made.write(chunk)
            size -= len(chunk)
