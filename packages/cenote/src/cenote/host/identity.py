"""The identity of a host, ``host.json`` in its data directory: its id, its name and the id of its store."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from cenote.errors import Misconfigured
from cenote.host import files

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


class Identity(msgspec.Struct, frozen=True):
    """``id`` never changes; ``name`` is for people; ``store`` is empty until the store is known."""

    id: UUID
    name: str
    store: UUID | None = None


def new(name: str) -> Identity:
    return Identity(uuid4(), name)


def read(path: Path) -> Identity | None:
    """Return the identity in a file, None if there is no file; Misconfigured for one that is damaged."""
    content = files.read(path)
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=Identity)
    except msgspec.DecodeError as error:
        raise Misconfigured(
            f"{path} is damaged ({error}); restore it from a backup: without it this data directory's "
            "clusters are those of another host"
        ) from None


def write(path: Path, identity: Identity) -> None:
    files.write(path, msgspec.json.encode(identity) + b"\n", 0o644, None)


def check_name(name: str) -> str:
    """Return a host's name; Misconfigured if it is not one."""
    if NAME.fullmatch(name) is None:
        raise Misconfigured(
            f"--name must be up to 63 letters, digits, dots, hyphens and underscores, not {name!r}"
        )
    return name


def name_in_records(folders: Iterable[UUID], hosts: Mapping[UUID, Iterable[str]]) -> str | None:
    """Return the name that records give to the host whose ``folders`` lie here; None if they have none.

    ``hosts`` has the names of the hosts of each cluster.  The machine may have been renamed since.
    """
    counted = Counter(name for id in folders for name in hosts.get(id, ()))
    return counted.most_common(1)[0][0] if counted else None


def directory_mark(data_dir: Path) -> str:
    """Return what tells a data directory from a copy of it, on this machine or another."""
    found = data_dir.stat()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{found.st_dev}:{found.st_ino}"
