"""Which files of a data directory belong to the service itself, and not to this machine or to a cluster.

They are in a backup of the service, with the records.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from datetime import datetime
from pathlib import Path

from cenote.errors import Misconfigured
from cenote.host import files, safe_open
from cenote.model.paths import Layout
from cenote.server import bootstrap

# Path in the data directory, and the mode with which it is restored.
FILES = {
    "admin-token": 0o600,
    "ca.crt": 0o644,
    "ca.key": 0o600,
    "api/sealing.key": 0o600,
    "api/host.key": 0o600,
    "keys/host.key": 0o600,
    "keys/etcd-root": 0o600,
    "keys/etcd-api": 0o600,
    "keys/etcd-agent": 0o600,
    "fleet/ca.pem": 0o600,
    "fleet/host.pem": 0o600,
    "fleet/host.key": 0o600,
    "fleet/store.json": 0o600,
}
NEEDED = ("api/sealing.key", "keys/host.key", "keys/etcd-root")
IDENTITY = "host.json"
# What a data directory has in which a service was started; there may be clusters without one.
_OF_A_SERVICE = (IDENTITY, "etcd", "sealing.key", "members.json", *FILES)


def read(layout: Layout) -> dict[str, bytes]:
    """Return the files that are there.

    Misconfigured when this user may not read them, or a key is missing.
    """
    try:
        found = {name: files.read(layout.data_dir / name) for name in (IDENTITY, *FILES)}
    except PermissionError as error:
        raise Misconfigured(
            f"{error.filename or layout.data_dir} belongs to another user; run this as that user"
        ) from None
    there = {name: content for name, content in found.items() if content}
    missing = [name for name in NEEDED if name not in there]
    if missing:
        raise Misconfigured(
            f"{layout.data_dir / missing[0]} is missing, without which the records cannot be opened; make "
            "the backup on a host with the role api"
        )
    return there


def is_unfinished(layout: Layout) -> bool:
    """Whether a restore into this data directory was cut off."""
    return os.path.lexists(layout.restoring)


def write(layout: Layout, found: dict[str, bytes]) -> None:
    """Write the files, all but the identity, so that only we can read them but for certificates."""
    for name, mode in FILES.items():
        if name in found:
            path = layout.data_dir / name
            if path.parent != layout.data_dir:
                files.make_directory(path.parent, 0o700, None)
            files.write(path, found[name], mode, None)
            files.sync(path)


def remove(layout: Layout) -> None:
    """Remove what a restore that has failed has written."""
    for name in _OF_A_SERVICE:
        with contextlib.suppress(NotADirectoryError):  # a file is in the place of its folder
            files.remove(layout.data_dir / name)


def put_aside(layout: Layout, at: datetime) -> Path | None:
    """Move what is there of a service to a folder for this time, which is returned; None for nothing."""
    found = [name for name in _OF_A_SERVICE if os.path.lexists(layout.data_dir / name)]
    if not found:
        return None
    folder = _new_folder(layout.data_dir / f"before-{at:%Y%m%dT%H%M%SZ}")
    for name in found:
        target = folder / name
        target.parent.mkdir(mode=0o700, exist_ok=True)
        safe_open.rename_new(layout.data_dir / name, target)
        files.sync_directory(target.parent)
    files.sync_directory(layout.data_dir)
    return folder


def _new_folder(path: Path) -> Path:
    for number in itertools.count(1):
        chosen = path if number == 1 else path.with_name(f"{path.name}.{number}")
        with contextlib.suppress(FileExistsError):
            chosen.mkdir(0o700)
            return chosen
    raise AssertionError


def check_none(layout: Layout) -> None:
    """Raise Misconfigured when there is, or was, a service in this data directory."""
    pid = bootstrap.serving_pid(layout) if layout.data_dir.exists() else None
    if pid is not None:
        raise Misconfigured(
            f"a service runs in {layout.data_dir} (pid {pid}); restore into another directory"
        )
    found = [name for name in _OF_A_SERVICE if os.path.lexists(layout.data_dir / name)]
    if found:
        raise Misconfigured(
            f"{layout.data_dir} has a service already ({found[0]} is there); restore into an empty data "
            "directory, or move these aside: nothing was changed"
        )


def check_whole(layout: Layout) -> None:
    """Raise Misconfigured for a data directory in which a restore was cut off."""
    if is_unfinished(layout):
        raise Misconfigured(
            f"the restore into {layout.data_dir} has not come to its end; run 'cenote service restore' again"
            ", which puts aside what is there, or, when you have moved the former service back, remove "
            f"{layout.restoring}"
        )
