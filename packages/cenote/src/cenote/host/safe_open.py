"""Opens paths without following a symbolic link that another account could have made.

The servers' account can change whatever is in its folders at any moment, so what a path was when it was
looked at says nothing about what is opened.  Here the kernel resolves it: openat2(2) with
``RESOLVE_NO_SYMLINKS``, and where that is missing, each folder is opened by itself with ``O_NOFOLLOW``.

The last name of a path is never followed.  A link before it is followed only where nobody but root and we
could have put it, such as a data directory that was moved to another disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

_OPENAT2 = 437  # the same on all architectures (asm-generic/unistd.h)
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS = 0x02, 0x04  # linux/openat2.h
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1  # linux/fs.h
_RENAME_EXCHANGE = 2  # the same
_MOST_LINKS = 40  # as the kernel has it (path_resolution(7))

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    """``struct open_how`` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_HOW_BYTES = ctypes.sizeof(_OpenHow)
_openat2 = _libc.syscall
_openat2.restype = ctypes.c_long
_openat2.argtypes = (
    *(ctypes.c_long, ctypes.c_long, ctypes.c_char_p),
    *(ctypes.POINTER(_OpenHow), ctypes.c_size_t),
)

Opener = Callable[[str, int, int], int]


def open_path(path: Path, flags: int, mode: int = 0o600) -> int:
    """Return a descriptor; OSError (ELOOP) for a path with a link that is not to be followed."""
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return _open(_absolute(path), flags, mode)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        parent = _followed(path.parent)
        if parent == os.path.abspath(path.parent):
            raise
        return _open(os.path.join(parent, path.name), flags, mode)


@contextlib.contextmanager
def folder(path: Path, flags: int = os.O_PATH) -> Iterator[int]:
    """Open a folder for the names in it, so its own may be a link.

    To list it or to sync it takes ``O_RDONLY``.
    """
    flags |= os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = _open(_absolute(path), flags, 0)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        descriptor = _open(_followed(path), flags, 0)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_regular(path: Path, flags: int) -> int:
    """Return a descriptor of a regular file; OSError (EINVAL) for anything else, without waiting for a pipe.

    To be written, it must have no second name: it might be another user's file, linked here.
    """
    descriptor = open_path(path, flags | os.O_NONBLOCK)
    found = os.fstat(descriptor)
    is_written = flags & os.O_ACCMODE != os.O_RDONLY
    if stat.S_ISREG(found.st_mode) and not (is_written and found.st_nlink != 1):
        return descriptor
    os.close(descriptor)
    reason = "has a second name" if stat.S_ISREG(found.st_mode) else "is not a regular file"
    raise OSError(errno.EINVAL, reason, str(path))


def rename_new(source: Path, target: Path) -> None:
    """Rename to a name that is not taken; FileExistsError if it is.  Both folders are opened first."""
    with folder(source.parent) as old, folder(target.parent) as new:
        call = getattr(_libc, "renameat2", None)  # not in every C library
        names = os.fsencode(source.name), os.fsencode(target.name)
        if call is not None and call(old, names[0], new, names[1], _RENAME_NOREPLACE) == 0:
            return
        number = errno.ENOSYS if call is None else ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS):  # some file systems do not know the flag
            raise OSError(number, os.strerror(number), str(source), None, str(target))
        if exists_in(new, target.name):
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        os.rename(source.name, target.name, src_dir_fd=old, dst_dir_fd=new)


def exchange(first: Path, second: Path) -> None:
    """Give each of two folders in the same place the name of the other, at once; OSError where that fails."""
    with folder(first.parent) as opened:
        call = getattr(_libc, "renameat2", None)
        names = os.fsencode(first.name), os.fsencode(second.name)
        if call is None or call(opened, names[0], opened, names[1], _RENAME_EXCHANGE) != 0:
            number = errno.ENOSYS if call is None else ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(first), None, str(second))


def exists_in(folder: int, name: str) -> bool:
    """Return whether an open folder has something of this name, a link included."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def open_by_kernel(path: str, flags: int, mode: int) -> int:
    """Open an absolute path in which nothing is a link, by openat2(2)."""
    how = _OpenHow(flags, mode if flags & os.O_CREAT else 0, _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
    name = os.fsencode(path)
    while True:
        descriptor: int = _openat2(_OPENAT2, _AT_FDCWD, name, ctypes.byref(how), _HOW_BYTES)
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number), path)


def open_by_steps(path: str, flags: int, mode: int) -> int:
    """Open an absolute path in which nothing is a link, one folder after the other."""
    *folders, name = Path(path).parts[1:] or ["."]
    current = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for step in folders:
            following = os.open(
                step, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current
            )
            os.close(current)
            current = following
        return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=current)
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(current)


def _choose() -> Opener:
    """Return how to open: kernels before 5.6, and filters of older containers, refuse openat2(2)."""
    try:
        os.close(open_by_kernel("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0))
    except OSError:
        return open_by_steps
    return open_by_kernel


_open = _choose()


def _absolute(path: Path) -> str:
    text = os.fspath(path)
    return text if text.startswith("/") else os.path.abspath(text)


def _followed(path: Path) -> str:
    """Return a folder's path without links; OSError (ELOOP) for one that is not to be followed."""
    done, left, links = "/", list(reversed(Path(os.path.abspath(path)).parts[1:])), 0
    while left:
        name = left.pop()
        step = os.path.normpath(os.path.join(done, name))
        if not os.path.islink(step):
            done = step
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        if not _is_trusted(Path(step)):
            raise OSError(errno.ELOOP, "a symbolic link that another account can change", step)
        target = Path(os.readlink(step))
        if target.is_absolute():
            done = "/"
        left += [part for part in reversed(target.parts) if part != "/"]
    return done


def _is_trusted(link: Path) -> bool:
    """Return whether nobody but root and we could have put a link, or a folder on its path, in its place."""
    return os.geteuid() != 0 or all(map(_is_roots, (link, *link.parents)))


def _is_roots(path: Path) -> bool:
    found, folder = path.lstat(), path.parent.lstat()
    # In a folder that others may write to, the sticky bit keeps them from what is root's.
    is_kept = folder.st_mode & 0o022 == 0 or bool(folder.st_mode & stat.S_ISVTX)
    return found.st_uid == 0 and folder.st_uid == 0 and is_kept
