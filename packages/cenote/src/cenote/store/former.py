"""A copy of the private etcd's data from before the records were migrated: the way back to a former version.

It is made while etcd is stopped, complete or not at all: under another name, which changes when everything
is on disk.  Nothing replaces it later.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from cenote.errors import Misconfigured

_TEMPORARY = ".etcd-before."
_BLOCK = 1 << 20


def keep_copy(data: Path, target: Path, *others: Path) -> bool:
    """Copy etcd's folder ``data``, and the files ``others`` beside it, into the new folder ``target``.

    The folders are 0700, the files 0600.  Return False, and do nothing, if ``target`` is there or ``data`` is
    not.  Misconfigured when it cannot be made, as on a full disk: then nothing is left of it.
    """
    for left in target.parent.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(left, ignore_errors=True)  # of a start that was killed
    if target.exists() or not data.is_dir():
        return False
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=_TEMPORARY))  # 0700 by its own rule
    try:
        _copy_folder(data, temporary / data.name)
        for other in others:
            with contextlib.suppress(FileNotFoundError):
                _copy_file(other, temporary / other.name)
        _sync(temporary)
        os.rename(temporary, target)
        _sync(target.parent)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise Misconfigured(
            f"the records of the former version cannot be copied to {target}: {error.strerror}; free some "
            "space, since they are migrated only with a way back"
        ) from error
    return True


def _copy_folder(source: Path, target: Path) -> None:
    target.mkdir(mode=0o700)
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            _copy_folder(source / entry.name, target / entry.name)
        elif entry.is_file(follow_symlinks=False):
            _copy_file(source / entry.name, target / entry.name)
    _sync(target)


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file, and leave holes for its zeros: etcd allocates its log in files of 64 MB."""
    read = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(read, "rb", buffering=0) as old, open(_created(target), "wb", buffering=0) as new:
        while block := old.read(_BLOCK):
            if block.count(0) == len(block):
                new.seek(len(block), os.SEEK_CUR)
            else:
                new.write(block)
        new.truncate(new.tell())
        os.fsync(new.fileno())


def _created(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
