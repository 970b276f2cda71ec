"""Files and directories owned by the servers' account.

That account can create anything in its directories.  As root, we must not follow a symbolic link from there
to another user's file, so no link is followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

LARGEST = 2**24  # bytes of a file that is read


def write(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None) -> None:
    """Replace a file atomically; a file with an owner only in a directory of the same owner."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    name = f".{path.name}.{secrets.token_hex(4)}"
    try:
        if owner is not None and os.fstat(folder).st_uid != owner[0]:
            raise OSError(errno.EPERM, "the directory belongs to another user", str(path.parent))
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                os.fchmod(stream.fileno(), mode)
                if owner is not None:
                    os.fchown(stream.fileno(), *owner)
            os.replace(name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
            raise
    finally:
        os.close(folder)


def sync(path: Path) -> None:
    """Have a file and its name on disk, where a power failure does not take them."""
    for name, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def modified_at(path: Path) -> datetime | None:
    """Return when a file was last written; None when there is none."""
    try:
        return datetime.fromtimestamp(path.lstat().st_mtime, UTC)
    except FileNotFoundError:
        return None


def read(path: Path) -> bytes | None:
    """Return the content of a file, or None if it does not exist.

    A file far larger than any of ours counts as missing: the next write replaces it.
    """
    stream = open_regular(path)
    if stream is None:
        return None
    with stream:
        return stream.read() if os.fstat(stream.fileno()).st_size <= LARGEST else None


def open_regular(path: Path) -> BinaryIO | None:
    """Open a regular file for reading; None if there is none, or a link, directory or pipe instead."""
    try:
        stream = open(path, "rb", opener=no_follow)  # noqa: SIM115 - the caller closes it
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            return None
        raise
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        return None
    return stream


def names(folder: Path) -> list[str]:
    """Return the names in a directory; none if it does not exist."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def make_directory(path: Path, mode: int, owner: tuple[int, int] | None) -> None:
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    folder = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        itself = f"/proc/self/fd/{folder}"  # fchmod refuses a descriptor opened with O_PATH
        os.chmod(itself, mode)
        if owner is not None:
            os.chown(itself, *owner)
    finally:
        os.close(folder)


def mode_of(path: Path) -> int | None:
    """Return the permissions of a directory, or None if there is none at this path."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mode & 0o7777 if path.is_dir() else None


def remove(path: Path) -> None:
    """Remove a file or a directory tree, if it exists.

    A directory is renamed first, so that a partly removed one is never found under its name.
    """
    doomed = _removal_path(path)
    if doomed.exists():
        shutil.rmtree(doomed)
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    os.replace(path, doomed)
    shutil.rmtree(doomed)


def needs_removal(path: Path) -> bool:
    """Return whether there is anything to remove, including the rest of an interrupted removal."""
    return os.path.lexists(path) or _removal_path(path).exists()


def _removal_path(path: Path) -> Path:
    return path.with_name(f".removing-{path.name}")


def copytruncate(path: Path, limit: int) -> None:
    """Move the content of a log larger than ``limit`` bytes to ``.1``.

    Servers hold the log open for appending, so it is copied and truncated instead of renamed.
    """
    with contextlib.suppress(FileNotFoundError), open(path, "r+b", opener=no_follow) as log:
        if os.fstat(log.fileno()).st_size > limit:
            with open(path.with_name(path.name + ".1"), "wb", opener=no_follow) as kept:
                shutil.copyfileobj(log, kept)
            log.truncate(0)


def tail(path: Path, lines: int = 3) -> str:
    """Return the last lines of a log, for an error message."""
    try:
        with open(path, "rb", opener=no_follow) as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - 4096))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    return " / ".join(line.strip() for line in text.strip().splitlines()[-lines:])


def no_follow(path: str, flags: int) -> int:
    """An opener that follows no link, and does not block on a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
