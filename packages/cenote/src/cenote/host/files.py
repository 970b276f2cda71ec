"""Files and folders, owned by whom the servers run as.

That account may put anything into its folders.  Where we are root, a link that it has put there must not lead
us to a file of somebody else's, so none is followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from pathlib import Path
from typing import BinaryIO

LARGEST = 2**24  # bytes of a file that is read as a whole


def write(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None) -> None:
    """Replace a file in one step, so that a reader sees the old or the new one, never half of one.

    What is for an owner is written into a folder of that owner's only.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    name = f".{path.name}.{secrets.token_hex(4)}"
    try:
        if owner is not None and os.fstat(folder).st_uid != owner[0]:
            raise OSError(errno.EPERM, "the folder belongs to another user", str(path.parent))
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


def read(path: Path) -> bytes | None:
    """Return what a file holds, or None when it is not there.

    One that is far larger than any of ours counts as nothing, too: a write puts ours in its place.
    """
    stream = plain(path)
    if stream is None:
        return None
    with stream:
        return stream.read() if os.fstat(stream.fileno()).st_size <= LARGEST else None


def plain(path: Path) -> BinaryIO | None:
    """Open a file for reading; None when there is none, or a link, a folder or a pipe in its place."""
    try:
        stream = open(path, "rb", opener=opened)  # noqa: SIM115 - the caller closes it
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
    """Return the names in a folder; none when it is not there."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def make_directory(path: Path, mode: int, owner: tuple[int, int] | None) -> None:
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    folder = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        itself = f"/proc/self/fd/{folder}"  # one opened like this has no fchmod
        os.chmod(itself, mode)
        if owner is not None:
            os.chown(itself, *owner)
    finally:
        os.close(folder)


def mode_of(path: Path) -> int | None:
    """Return the permissions of a folder, or None when there is none at this path."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mode & 0o7777 if path.is_dir() else None


def remove(path: Path) -> None:
    """Remove a file or a whole folder; nothing there is as good as removed.

    A folder is first moved out of the way in one step: half a folder never stands under the name.
    """
    doomed = _doomed(path)
    if doomed.exists():
        shutil.rmtree(doomed)
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    os.replace(path, doomed)
    shutil.rmtree(doomed)


def remains(path: Path) -> bool:
    """Return whether there is anything to remove, be it what an interrupted removal has left."""
    return os.path.lexists(path) or _doomed(path).exists()


def _doomed(path: Path) -> Path:
    return path.with_name(f".removing-{path.name}")


def keep_short(path: Path, limit: int) -> None:
    """Move a log that has grown past ``limit`` bytes aside.

    Servers hold it open for appending, so it is copied and emptied in place instead of renamed.
    """
    with contextlib.suppress(FileNotFoundError), open(path, "r+b", opener=opened) as log:
        if os.fstat(log.fileno()).st_size > limit:
            with open(path.with_name(path.name + ".1"), "wb", opener=opened) as kept:
                shutil.copyfileobj(log, kept)
            log.truncate(0)


def tail(path: Path, lines: int = 3) -> str:
    """Return the last lines of a log, for an error message."""
    try:
        with open(path, "rb", opener=opened) as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - 4096))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    return " / ".join(line.strip() for line in text.strip().splitlines()[-lines:])


def opened(path: str, flags: int) -> int:
    """Open a file without following a link, and without waiting at a pipe for its other end."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
