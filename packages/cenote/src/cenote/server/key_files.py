"""The files of the two key rings, each with its owner, before the agent and the API start.

The API's folder belongs to the API's account, which may have been taken over: while root works in it, it is
root's, no link in it is followed, and no file that it has put there changes hands.  A file is replaced
complete and on disk or not at all, and no key is dropped here, so a start may be cut off anywhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from cenote.errors import Misconfigured
from cenote.host.processes import Account
from cenote.model.paths import Layout
from cenote.security import sealing_keys
from cenote.security.sealing import TEMPORARY, Sealer
from cenote.security.sealing_keys import SealingKey

LARGEST = 64 * 1024  # bytes; hundreds of keys

Owner = tuple[int, int]  # user and group


def prepare_keys(layout: Layout, api_account: Account) -> None:
    """Make the folders and files of both rings, or bring them up to date.

    Ring ``api`` begins with the keys of a former version; ring ``host`` is the same for agent and API.
    Misconfigured, with the name, when something there is no key file.
    """
    ours = os.geteuid(), os.getegid()
    with (
        _opened(layout.keys, ours) as agent,
        _opened(layout.api, api_account.owner or ours, strict=True) as api,
        _opened(layout.data_dir) as data,
    ):
        former = data.keys(layout.former_sealing_key.name)
        ring = sealing_keys.merged(api.keys(layout.api_sealing_key.name), former)
        api.put(layout.api_sealing_key.name, ring or (sealing_keys.new_key(),))
        host_name = layout.host_keys.name
        # Two files with the same keys: if a power failure has emptied one, the other has them.
        copies = [(agent, host_name), (api, layout.api_host_keys.name)]
        whole = [(folder, name) for folder, name in copies if not folder.is_empty(name)]
        ring = sealing_keys.merged(*(folder.keys(name) for folder, name in whole))
        ring = ring or sealing_keys.merged(*(folder.keys(name) for folder, name in copies))
        ring = ring or (sealing_keys.new_key(),)
        agent.put(host_name, ring)
        api.put(layout.api_host_keys.name, ring)


def sealed_for_hosts(layout: Layout) -> Callable[[bytes], bytes]:
    """Return what seals the log sinks of a former version, given as JSON, with ring ``host``."""
    if not os.path.lexists(layout.former_sealing_key):
        return lambda sinks: sinks
    former, host = Sealer(layout.former_sealing_key), Sealer(layout.host_keys)
    return lambda sinks: former.reseal(sinks, by=host)


def remove_former(layout: Layout) -> None:
    """Remove the key file of a former version; its keys are in ring ``api``, and the store is migrated."""
    layout.former_sealing_key.unlink(missing_ok=True)


class _Folder:
    """An open folder; ``owner`` is whose its files are.

    In a ``strict`` one, a file with a second name is refused: another account may have linked it there.
    """

    def __init__(self, path: Path, descriptor: int, owner: Owner, *, strict: bool) -> None:
        self._path, self._descriptor, self._owner, self._strict = path, descriptor, owner, strict

    def keys(self, name: str) -> tuple[SealingKey, ...]:
        """Return the keys in a file; none if it does not exist."""
        found = self._read(name)
        if found is None:
            return ()
        content, about = found
        try:
            keys = sealing_keys.keys_in(
                content.decode("ascii"), datetime.fromtimestamp(int(about.st_mtime), UTC)
            )
        except ValueError:
            keys = ()
        if not keys:
            raise Misconfigured(
                f"the sealing key {self._path / name} holds no key; restore the file from a backup of this "
                "data directory, since nothing else can read what it has sealed"
            )
        return keys

    def is_empty(self, name: str) -> bool:
        """Return whether a file is there that has no content, as a power failure may leave it."""
        found = self._read(name)
        return found is not None and not found[0].strip(b"\0 \n")

    def put(self, name: str, keys: tuple[SealingKey, ...]) -> None:
        """Have a file with these keys, 0600 and the owner's, and no temporary file of a killed process."""
        content, found = sealing_keys.text(keys).encode(), self._read(name)
        if found is None or found[0] != content or not self._is_owned(found[1]):
            self._write(name, content)
        for left in os.listdir(self._descriptor):
            if left.startswith(TEMPORARY):
                with contextlib.suppress(OSError):
                    os.unlink(left, dir_fd=self._descriptor)

    def _read(self, name: str) -> tuple[bytes, os.stat_result] | None:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            opened = os.open(name, flags, dir_fd=self._descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise self._no_file(name) from None
            raise
        with open(opened, "rb") as file:
            about = os.fstat(file.fileno())
            linked = self._strict and about.st_nlink != 1
            if not stat.S_ISREG(about.st_mode) or linked or about.st_size > LARGEST:
                raise self._no_file(name)
            if stat.S_IMODE(about.st_mode) & 0o077:
                path = self._path / name
                raise Misconfigured(f"the sealing key {path} is open to others; fix: chmod 600 {path}")
            return file.read(), about

    def _no_file(self, name: str) -> Misconfigured:
        return Misconfigured(
            f"{self._path / name} is not a file of keys but a link or something else; look at how it came "
            "there, and restore the file from a backup"
        )

    def _is_owned(self, about: os.stat_result) -> bool:
        return (about.st_uid, about.st_gid) == self._owner and stat.S_IMODE(about.st_mode) == 0o600

    def _write(self, name: str, content: bytes) -> None:
        temporary = f"{TEMPORARY}{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(temporary, flags, 0o600, dir_fd=self._descriptor), "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o600)
            _own(file.fileno(), self._owner)
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        os.fsync(self._descriptor)


@contextlib.contextmanager
def _opened(path: Path, owner: Owner | None = None, *, strict: bool = False) -> Iterator[_Folder]:
    """Open a folder, which is made if it is missing: ours meanwhile, then 0700 and the owner's.

    Without an owner, it is opened as it is.
    """
    try:
        if owner is not None:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            ours = os.geteuid(), os.getegid()
            if owner is not None:
                _own(descriptor, ours)
                os.fchmod(descriptor, 0o700)
            yield _Folder(path, descriptor, owner or ours, strict=strict)
            if owner is not None:
                _own(descriptor, owner)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Misconfigured(f"the keys in {path} cannot be used: {error.strerror}") from error


def _own(descriptor: int, owner: Owner) -> None:
    about = os.fstat(descriptor)
    if (about.st_uid, about.st_gid) != owner:
        os.fchown(descriptor, *owner)
