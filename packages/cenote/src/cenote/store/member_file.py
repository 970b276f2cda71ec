"""The members of etcd as a host knows them: a file, from which its processes take where to ask.

It holds no secret, and everybody may read it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from cenote.store import etcd_options
from cenote.store.etcd_http import Address
from cenote.store.etcd_messages import Member


class Seat(msgspec.Struct, frozen=True):
    """A member: the id of its host, "" if that is not known, and where it answers clients."""

    host: str
    url: str
    voter: bool = True


class _File(msgspec.Struct, frozen=True):
    members: tuple[Seat, ...] = ()


def of(members: Iterable[Member]) -> tuple[Seat, ...]:
    """Return the seats of the members that have been started, and that other hosts can reach."""
    return tuple(
        Seat(etcd_options.host_of(one.name), url, not one.is_learner)
        for one in sorted(members, key=lambda one: one.name)
        for url in one.client_urls[:1]
        if url.startswith("https://")
    )


def read(path: Path) -> tuple[Seat, ...]:
    """Return what is known; nothing for a file that is missing or damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File).members
    except (OSError, msgspec.DecodeError):
        return ()


def write(path: Path, seats: tuple[Seat, ...]) -> None:
    """Replace the file, if it says something else."""
    if read(path) == seats and path.exists():
        return
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o644)
        file.write(msgspec.json.encode(_File(seats)) + b"\n")
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)


class Addresses:
    """Where a host asks: its own member first, if that is a voter, then the others.

    The file is read again when it has changed.  Without others, there is the host's own etcd alone.
    """

    def __init__(self, path: Path, host_id: str, socket: Path | None) -> None:
        self._path, self._host_id, self._socket = path, host_id, socket
        self._read_at: tuple[int, int] | None = None
        self._found: list[Address] = []

    def __call__(self) -> list[Address]:
        try:
            found = self._path.stat()
            now = (found.st_mtime_ns, found.st_ino)
        except OSError:
            now = (0, 0)
        if now != self._read_at:
            self._found, self._read_at = self._addresses(read(self._path)), now
        return self._found

    def _addresses(self, seats: tuple[Seat, ...]) -> list[Address]:
        voters = [seat for seat in seats if seat.voter]
        others: list[Address] = [seat.url for seat in voters if seat.host != self._host_id]
        own = self._socket is not None and (not voters or any(seat.host == self._host_id for seat in voters))
        return [*([self._socket] if own and self._socket is not None else []), *others]
