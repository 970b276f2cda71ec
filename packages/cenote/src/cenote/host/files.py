"""Files and directories of the service and of the servers' account.

That account can create anything in its directories, and change it while we look.  As root, we must not be led
from there to another user's file, so every path is opened by ``safe_open``, and what is done next is done to
the descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from cenote.host import safe_open

LARGEST = 2**24  # bytes of a file that is read
MOST_NAMES = 10_000  # that are read of a directory
PASSABLE = 0o711  # mode of directories of ours with directories of other accounts in them
_MOST_ROUNDS = 100_000  # of a removal

Owner = tuple[int, int]  # user and group


def write(path: Path, content: bytes, mode: int, owner: Owner | None, *, durable: bool = True) -> None:
    """Replace a file atomically; ``durable``: on disk before the call returns, as is its name.

    Without, a power failure may leave an empty file, which is enough where it is compared with what it should
    be and written again.
    """
    with safe_open.folder(path.parent, os.O_RDONLY if durable else os.O_PATH) as folder:
        name = f".{path.name}.{secrets.token_hex(4)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(name, flags, 0o600, dir_fd=folder)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                if owner is not None:
                    os.fchown(stream.fileno(), *owner)
                os.fchmod(stream.fileno(), mode)
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
            os.replace(name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
            raise
        if durable:
            os.fsync(folder)


def sync(path: Path) -> None:
    """Have a file and its name on disk, where a power failure does not take them."""
    descriptor = safe_open.open_path(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Have the names in a directory on disk."""
    with safe_open.folder(path, os.O_RDONLY) as folder:
        os.fsync(folder)


def modified_at(path: Path) -> datetime | None:
    """Return when a file was last written; None when there is none."""
    descriptor = _open_regular(path)
    if descriptor is None:
        return None
    try:
        return datetime.fromtimestamp(os.fstat(descriptor).st_mtime, UTC)
    finally:
        os.close(descriptor)


def mode_of_file(path: Path) -> int | None:
    """Return the permissions of a regular file; None when there is none."""
    descriptor = _open_regular(path)
    if descriptor is None:
        return None
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def read(path: Path) -> bytes | None:
    """Return the content of a file, or None if it does not exist.

    A file far larger than any of ours counts as missing: the next write replaces it.
    """
    descriptor = _open_regular(path)
    if descriptor is None:
        return None
    try:
        size = os.fstat(descriptor).st_size
        return None if size > LARGEST else _read(descriptor, size)
    finally:
        os.close(descriptor)


def _read(descriptor: int, size: int) -> bytes:
    """Return what an open file has up to ``size``, which it had a moment ago."""
    found = os.read(descriptor, size)
    while 0 < len(found) < size and (more := os.read(descriptor, size - len(found))):
        found += more
    return found


def open_regular(path: Path) -> BinaryIO | None:
    """Open a regular file for reading; None if there is none, or a link, directory or pipe instead."""
    descriptor = _open_regular(path)
    return None if descriptor is None else open(descriptor, "rb")


def _open_regular(path: Path) -> int | None:
    try:
        return safe_open.open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        # A pipe or directory; a link; a socket or a device without a driver.
        if error.errno in (errno.EINVAL, errno.ELOOP, errno.ENXIO, errno.ENOTDIR):
            return None
        raise


def names(folder: Path) -> list[str]:
    """Return the names in a directory, of a crowd the first ones; none if it does not exist."""
    try:
        with safe_open.folder(folder, os.O_RDONLY) as opened:
            return sorted(_names_in(opened))
    except FileNotFoundError:
        return []


def make_directory(path: Path, mode: int, owner: Owner | None) -> None:
    """Have a directory with this mode and owner; missing ones above it are ``PASSABLE``."""
    try:
        with safe_open.folder(path.parent) as parent, contextlib.suppress(FileExistsError):
            os.mkdir(path.name, 0o700, dir_fd=parent)
    except FileNotFoundError:
        make_directory(path.parent, PASSABLE, None)
        make_directory(path, mode, owner)
        return
    set_owner(path, mode, owner)


def set_owner(path: Path, mode: int, owner: Owner | None) -> None:
    """Change the mode and the owner of a directory; OSError for anything else."""
    with safe_open.folder(path) as opened:
        itself = f"/proc/self/fd/{opened}"  # fchmod refuses a descriptor opened with O_PATH
        if owner is not None:
            os.chown(itself, *owner)
        os.chmod(itself, mode)


def mode_of(path: Path) -> int | None:
    """Return the permissions of a directory, or None if there is none at this path."""
    found = ownership_of(path)
    return None if found is None else found[0]


def ownership_of(path: Path) -> tuple[int, int, int] | None:
    """Return the permissions, user and group of a directory, or None if there is none at this path."""
    try:
        with safe_open.folder(path) as opened:
            found = os.fstat(opened)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def remove(path: Path) -> None:
    """Remove a file or a directory tree, if it exists.

    A directory is renamed first, so that a partly removed one is never found under its name.
    """
    with contextlib.suppress(FileNotFoundError), safe_open.folder(path.parent) as folder:
        doomed = _removal_name(path)
        _remove_in(folder, doomed)
        if not _unlinked(folder, path.name):
            os.rename(path.name, doomed, src_dir_fd=folder, dst_dir_fd=folder)
            _remove_in(folder, doomed)


def needs_removal(path: Path) -> bool:
    """Return whether there is anything to remove, including the rest of an interrupted removal."""
    try:
        with safe_open.folder(path.parent) as folder:
            return any(safe_open.exists_in(folder, name) for name in (path.name, _removal_name(path)))
    except FileNotFoundError:
        return False


def _removal_name(path: Path) -> str:
    return f".removing-{path.name}"


def _remove_in(folder: int, name: str) -> None:
    """Remove what an open directory has under a name, however deep it is.

    Directories are moved up before they are emptied, so neither their depth nor one that is exchanged
    meanwhile matters.
    """
    with contextlib.suppress(FileNotFoundError):
        if _unlinked(folder, name):
            return
        with _opened(folder, name) as top:
            for _ in range(_MOST_ROUNDS):
                found = list(_names_in(top))
                if not found:
                    break
                for entry in found:
                    _flatten(top, entry)
        os.rmdir(name, dir_fd=folder)


def _flatten(top: int, name: str) -> None:
    """Remove an entry of an open directory; the directories in it are moved up into the open one."""
    with contextlib.suppress(FileNotFoundError):
        if _unlinked(top, name):
            return
        with _opened(top, name) as inner:
            for entry in _names_in(inner):
                if not _unlinked(inner, entry):
                    os.rename(entry, secrets.token_hex(8), src_dir_fd=inner, dst_dir_fd=top)
        with contextlib.suppress(OSError):  # not empty: one of a crowd, or filled meanwhile
            os.rmdir(name, dir_fd=top)


def _unlinked(folder: int, name: str) -> bool:
    """Remove what an open directory has under a name, unless it is a directory; return whether it is gone."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        return False
    return True


@contextlib.contextmanager
def _opened(folder: int, name: str) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _names_in(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry, _ in zip(entries, range(MOST_NAMES), strict=False)]


def copytruncate(path: Path, limit: int) -> None:
    """Move the content of a log larger than ``limit`` bytes to ``.1``.

    Servers hold the log open for appending, so it is copied and truncated instead of renamed.
    """
    with contextlib.suppress(FileNotFoundError), open(path, "r+b", opener=to_change) as log:
        if os.fstat(log.fileno()).st_size > limit:
            with open(path.with_name(path.name + ".1"), "wb", opener=to_change) as kept:
                kept.truncate(0)
                shutil.copyfileobj(log, kept)
            log.truncate(0)


def tail(path: Path, lines: int = 3) -> str:
    """Return the last lines of a log, for an error message."""
    text = end(path, 4096).decode(errors="replace")
    return " / ".join(line.strip() for line in text.strip().splitlines()[-lines:])


def end(path: Path, size: int) -> bytes:
    """Return at most so many bytes of the end of a file; none if it cannot be read."""
    try:
        stream = open_regular(path)
        if stream is None:
            return b""
        with stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
            return stream.read(size)
    except OSError:
        return b""


def to_change(path: str, flags: int) -> int:
    """An opener of a regular file to be changed, which is truncated only by the caller."""
    return safe_open.open_regular(Path(path), flags & ~os.O_TRUNC)
