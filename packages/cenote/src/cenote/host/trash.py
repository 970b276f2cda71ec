"""The trash: what the agent has taken off a host of itself, kept for some days.

A thing gets there by a rename within the data directory, with a note beside it that says what it is, when it
came and why.  The folder is ours alone: the servers' account cannot enter it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec

from cenote.errors import CenoteError
from cenote.host import files, safe_open
from cenote.model.paths import STANDBY_SIGNAL, Layout, NodePaths
from cenote.model.trash import TrashNote

NOTE = "note.json"
_TIME = "%Y%m%dT%H%M%SZ"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NAME = re.compile(rf"\d{{8}}T\d{{6}}Z-{_UUID}(?:-[a-z0-9-]+)?(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Entry:
    """A thing in the trash; without a note when it was cut off on its way there."""

    path: Path
    at: datetime
    note: TrashNote | None

    @property
    def name(self) -> str:
        return self.path.name


class OtherFileSystem(CenoteError):
    """Something cannot be renamed into the trash."""


def put(layout: Layout, paths: Sequence[Path], note: TrashNote) -> None:
    """Move files and folders to the trash; those that are missing are passed over.

    OtherFileSystem when they lie on another one than the trash, where nothing can be renamed to.
    """
    files.make_directory(layout.trash, 0o700, None)
    folder = _new_folder(layout, note)
    try:
        files.write(folder / NOTE, msgspec.json.format(msgspec.json.encode(note)) + b"\n", 0o600, None)
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                safe_open.rename_new(path, folder / path.name)
                files.sync_directory(path.parent)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise OtherFileSystem(
                f"{error.filename} is on another file system than {layout.trash}, so it cannot be moved "
                "there; it is stopped and left where it is"
            ) from None
        raise
    finally:
        if set(files.names(folder)) <= {NOTE}:  # empty when the disk is full
            files.remove(folder)
    files.sync_directory(layout.trash)


def _new_folder(layout: Layout, note: TrashNote) -> Path:
    name = f"{note.at.astimezone(UTC):{_TIME}}-{note.cluster}" + (f"-{note.node}" if note.node else "")
    with safe_open.folder(layout.trash, os.O_RDONLY) as trash:
        for number in itertools.count(1):
            chosen = name if number == 1 else f"{name}.{number}"
            with contextlib.suppress(FileExistsError):
                os.mkdir(chosen, 0o700, dir_fd=trash)
                os.fsync(trash)
                return layout.trash / chosen
    raise AssertionError


def is_worth_it(paths: NodePaths) -> bool:
    """Return whether a node's data is worth keeping: it is there, and no copy that follows another node's."""
    if files.mode_of(paths.data) is None:
        return False
    with safe_open.folder(paths.data) as data:
        return not safe_open.exists_in(data, STANDBY_SIGNAL)


def names(layout: Layout, cluster: UUID | None = None) -> list[str]:
    """Return the names in the trash that are ours, of one cluster or all; however many there are."""
    part = "" if cluster is None else f"-{cluster}"
    try:
        with safe_open.folder(layout.trash, os.O_RDONLY) as folder:
            return [name for name in os.listdir(folder) if part in name and _NAME.fullmatch(name)]
    except FileNotFoundError:
        return []


def cluster_of(name: str) -> UUID:
    """Return the id of the cluster in a name that is ours."""
    _, _, rest = name.partition("-")
    return UUID(rest[:36])


def entries(layout: Layout) -> list[Entry]:
    """Return what is in the trash, the oldest first; names that are not ours are left out."""
    found = []
    for name in names(layout):
        path, at = layout.trash / name, datetime.strptime(name.partition("-")[0], _TIME)
        found.append(Entry(path, at.replace(tzinfo=UTC), _note(path)))
    return sorted(found, key=lambda entry: (entry.at, entry.name))


def _note(path: Path) -> TrashNote | None:
    with contextlib.suppress(OSError, ValueError, msgspec.DecodeError):
        content = files.read(path / NOTE)
        if content is not None:
            return msgspec.json.decode(content, type=TrashNote)
    return None


def takes(layout: Layout, path: Path) -> bool:
    """Return whether a folder of the data directory can get into the trash: nothing is mounted in between."""
    try:
        there = _place(layout.trash)
    except FileNotFoundError:
        there = _place(layout.data_dir)
    try:
        return _place(path) == there
    except FileNotFoundError:
        return False


def _place(path: Path) -> tuple[int, str]:
    """Return device and mount of a folder: no rename leads from one mount to another of the same device."""
    with safe_open.folder(path) as folder:
        lines = Path(f"/proc/self/fdinfo/{folder}").read_text(encoding="ascii").splitlines()
        mount = next((line for line in lines if line.startswith("mnt_id:")), "")
        return os.fstat(folder).st_dev, mount


def find(layout: Layout, cluster: UUID, deleted_at: datetime) -> Entry | None:
    """Return what is in the trash of a cluster that was deleted at this time: the whole of its folder."""
    for name in names(layout, cluster):
        path = layout.trash / name
        note = _note(path)
        if (
            note is not None
            and (note.cluster, note.node, note.deleted_at) == (cluster, "", deleted_at)
            and str(cluster) in files.names(path)
        ):
            at = datetime.strptime(name.partition("-")[0], _TIME)
            return Entry(path, at.replace(tzinfo=UTC), note)
    return None


def take_back(layout: Layout, entry: Entry) -> None:
    """Bring the folder of a cluster back to its place; it must not be taken.

    CenoteError if another thing is in its place that has data.
    """
    assert entry.note is not None
    paths = layout.cluster(entry.note.cluster)
    if files.mode_of(paths.root) is not None:
        if paths.nodes():
            raise CenoteError(f"{paths.root} has data already, so what is in {entry.path} stays there")
        why = "it was in the place of data that came back"
        put(layout, [paths.root], TrashNote(cluster=entry.note.cluster, why=why, at=datetime.now(UTC)))
    safe_open.rename_new(entry.path / paths.root.name, paths.root)
    files.sync_directory(paths.root.parent)
    files.sync_directory(entry.path)
    if files.names(entry.path) == [NOTE]:
        files.remove(entry.path)


def remove(entry: Entry) -> None:
    """Remove a thing from the trash for good; none that is gone already."""
    files.remove(entry.path)


def remove_interrupted(layout: Layout) -> None:
    """Finish removals that were cut off."""
    for name in files.names(layout.trash):
        if name.startswith(".removing-"):
            files.remove(layout.trash / name.removeprefix(".removing-"))
