"""Files and folders, owned by whom the servers run as."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path


def write(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None) -> None:
    """Replace a file in one step, so that a reader sees the old or the new one, never half of one."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), mode)
            if owner is not None:
                os.fchown(stream.fileno(), *owner)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def read(path: Path) -> bytes | None:
    """Return what a file holds, or None when it is not there."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def make_directory(path: Path, mode: int, owner: tuple[int, int] | None) -> None:
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    os.chmod(path, mode)
    if owner is not None:
        os.chown(path, *owner)


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
    try:
        if path.stat().st_size <= limit:
            return
    except FileNotFoundError:
        return
    shutil.copy2(path, path.with_name(path.name + ".1"))
    os.truncate(path, 0)


def tail(path: Path, lines: int = 3) -> str:
    """Return the last lines of a log, for an error message."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 4096))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    return " / ".join(line.strip() for line in text.strip().splitlines()[-lines:])
