"""The trash of a host: what gets into it by a rename, and what is in it."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import resource
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import replace

from cenote.agent import deletion
from cenote.agent.emptying import empty_trash
from cenote.engine.plan.context import HostContext, NodeContext
from cenote.errors import CenoteError
from cenote.host import files, trash
from cenote.model.paths import Layout
from cenote.model.records import BackupPlan, Cluster
from cenote.model.status_records import DiskUse
from cenote.model.trash import TrashNote
from cenote.rules import deletions
from tests.support.folders import server_folder
from tests.support.wanted import CLUSTER, SITE

NOTE = TrashNote(
    cluster=uuid4(), name="kept", why="it was moved", at=datetime(2026, 11, 29, 7, 0, tzinfo=UTC)
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "data")
    found.clusters.mkdir(parents=True)
    return found


def filled(folder: Path) -> Path:
    (folder / "pg").mkdir(parents=True)
    (folder / "pg" / "PG_VERSION").write_text("15\n")
    return folder


def test_a_folder_is_renamed_into_the_trash_and_has_a_note(layout: Layout) -> None:
    root = filled(layout.cluster(NOTE.cluster).root)
    inode = root.stat().st_ino
    trash.put(layout, [root], NOTE)
    [entry] = trash.entries(layout)
    assert (entry.at, entry.note) == (NOTE.at, NOTE)
    assert (entry.path / root.name).stat().st_ino == inode
    assert not root.exists()
    assert layout.trash.stat().st_mode & 0o777 == 0o700
    assert (entry.path / trash.NOTE).stat().st_mode & 0o777 == 0o600

    trash.remove(entry)
    trash.remove(entry)
    assert list(layout.trash.iterdir()) == []


def test_two_of_one_second_stand_beside_each_other_and_the_oldest_is_the_first(layout: Layout) -> None:
    earlier = replace(NOTE, at=NOTE.at - timedelta(hours=1), node="node-2")
    for note in (NOTE, NOTE, earlier):
        trash.put(layout, [filled(layout.cluster(NOTE.cluster).root)], note)
    names = [entry.name for entry in trash.entries(layout)]
    assert names == [
        f"20261129T060000Z-{NOTE.cluster}-node-2",
        f"20261129T070000Z-{NOTE.cluster}",
        f"20261129T070000Z-{NOTE.cluster}.2",
    ]


def test_nothing_stays_of_what_was_not_there(layout: Layout) -> None:
    trash.put(layout, [layout.cluster(NOTE.cluster).root], NOTE)
    assert list(layout.trash.iterdir()) == []


def test_nothing_stays_of_what_found_no_room_for_its_note(layout: Layout) -> None:
    folder = layout.clusters / "one"
    folder.mkdir(parents=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            trash.put(layout, [folder], NOTE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert list(layout.trash.iterdir()) == []
    assert folder.is_dir()


def test_data_that_follows_is_not_worth_the_trash_and_no_link_says_so(layout: Layout) -> None:
    paths = layout.node(NOTE.cluster, "node-2")
    assert not trash.is_worth_it(paths)
    paths.data.mkdir(parents=True)
    assert trash.is_worth_it(paths)
    paths.standby_signal.symlink_to("/nonexistent")
    assert not trash.is_worth_it(paths)


def test_without_its_note_a_thing_is_known_by_its_name(layout: Layout) -> None:
    trash.put(layout, [filled(layout.cluster(NOTE.cluster).root)], NOTE)
    [entry] = trash.entries(layout)
    for content in ("", "{}", "no JSON"):
        (entry.path / trash.NOTE).write_text(content)
        assert trash.entries(layout) == [trash.Entry(entry.path, NOTE.at, None)]
    (layout.trash / "somebody's").mkdir()
    assert len(trash.entries(layout)) == 1


def test_a_removal_that_was_cut_off_is_finished(layout: Layout) -> None:
    filled(layout.trash / f".removing-20261129T070000Z-{NOTE.cluster}")
    trash.remove_interrupted(layout)
    assert list(layout.trash.iterdir()) == []


def test_what_is_on_another_file_system_is_left_where_it_is_and_named(layout: Layout) -> None:
    with server_folder() as memory:
        root = filled(memory / str(NOTE.cluster))
        if os.stat(root).st_dev == os.stat(layout.data_dir).st_dev:
            pytest.skip("there is one file system only")
        assert not trash.takes(layout, root)
        with pytest.raises(trash.OtherFileSystem, match=f"{root} is on another file system"):
            trash.put(layout, [root], NOTE)
        assert (root / "pg" / "PG_VERSION").exists()
        assert list(layout.trash.iterdir()) == []


def test_the_oldest_goes_before_its_time_while_the_disk_is_nearly_full(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    for hours in range(4):
        at = NOTE.at + timedelta(hours=hours)
        trash.put(layout, [filled(layout.cluster(NOTE.cluster).root)], replace(NOTE, at=at))

    def disk(folder: Path) -> DiskUse:
        """One on which each thing in the trash takes 100 MiB."""
        return DiskUse(used_mib=0, free_mib=1100 - 100 * len(list(folder.iterdir())), disk_mib=10_000)

    asyncio.run(empty_trash(layout, NOTE.at + timedelta(days=1), 7, disk))
    assert [entry.at.hour for entry in trash.entries(layout)] == [8, 9, 10]
    assert "before its time: the disk has 700 MiB left" in caplog.text
    asyncio.run(empty_trash(layout, NOTE.at + timedelta(days=7, hours=2, minutes=1), 7, disk))
    assert [entry.at.hour for entry in trash.entries(layout)] == [10]


# -- What can be undeleted

DELETED = replace(NOTE, deleted_at=NOTE.at, until=NOTE.at + timedelta(days=9))


def test_what_was_deleted_is_found_by_its_deletion_and_comes_back_whole(layout: Layout) -> None:
    root = filled(layout.cluster(DELETED.cluster).root)
    inode = (root / "pg").stat().st_ino
    trash.put(layout, [root], DELETED)
    assert DELETED.deleted_at is not None
    earlier = DELETED.deleted_at - timedelta(seconds=1)
    assert trash.find(layout, DELETED.cluster, earlier) is None
    assert trash.find(layout, uuid4(), DELETED.deleted_at) is None
    entry = trash.find(layout, DELETED.cluster, DELETED.deleted_at)
    assert entry is not None
    trash.take_back(layout, entry)
    assert (root / "pg").stat().st_ino == inode
    assert list(layout.trash.iterdir()) == []
    assert trash.find(layout, DELETED.cluster, DELETED.deleted_at) is None


def test_what_was_moved_away_or_cut_off_is_never_found(layout: Layout) -> None:
    root = layout.cluster(DELETED.cluster).root
    assert DELETED.deleted_at is not None
    for note in (NOTE, replace(DELETED, node="node-1"), replace(DELETED, cluster=uuid4())):
        trash.put(layout, [filled(root)], note)
    other = filled(layout.clusters / "other")  # a crash between the note and the rename
    trash.put(layout, [other], DELETED)
    assert len(trash.entries(layout)) == 4
    assert trash.find(layout, DELETED.cluster, DELETED.deleted_at) is None


def test_nothing_comes_back_over_data_that_is_there(layout: Layout) -> None:
    root = layout.cluster(DELETED.cluster).root
    trash.put(layout, [filled(root)], DELETED)
    assert DELETED.deleted_at is not None
    entry = trash.find(layout, DELETED.cluster, DELETED.deleted_at)
    assert entry is not None
    filled(root)
    with pytest.raises(CenoteError, match="has data already"):
        trash.take_back(layout, entry)
    assert trash.find(layout, DELETED.cluster, DELETED.deleted_at) == entry
    (root / "pg" / "PG_VERSION").unlink()
    (root / "pg").rmdir()
    (root / "pause.json").write_text("{}")  # what is no data makes room, in the trash
    trash.take_back(layout, entry)
    assert (root / "pg" / "PG_VERSION").exists()
    [aside] = trash.entries(layout)
    assert (aside.path / root.name / "pause.json").exists()


def test_it_is_kept_until_its_time_and_longer_while_it_is_needed(layout: Layout) -> None:
    trash.put(layout, [filled(layout.cluster(DELETED.cluster).root)], DELETED)

    def roomy(_: Path) -> DiskUse:
        return DiskUse(used_mib=0, free_mib=90_000, disk_mib=100_000)

    def full(_: Path) -> DiskUse:
        return DiskUse(used_mib=0, free_mib=10, disk_mib=100_000)

    after = NOTE.at + timedelta(days=9, seconds=1)
    asyncio.run(empty_trash(layout, NOTE.at + timedelta(days=8), 7, roomy))

    async def is_needed(note: TrashNote) -> bool:
        return note == DELETED

    for disk in (roomy, full):
        assert asyncio.run(empty_trash(layout, after, 7, disk, is_needed=is_needed)) == 0
    assert len(trash.entries(layout)) == 1
    assert asyncio.run(empty_trash(layout, after, 7, roomy)) == 1
    assert trash.entries(layout) == []


MOUNTED = """
import sys
from pathlib import Path
from cenote.host import trash
from cenote.model.paths import Layout

print(trash.takes(Layout(Path(sys.argv[1])), Path(sys.argv[2])))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
@pytest.mark.parametrize("mounted", ["", "clusters", "trash"])
def test_what_is_mounted_in_between_is_seen_also_of_the_same_device(layout: Layout, mounted: str) -> None:
    layout.trash.mkdir()
    root = filled(layout.cluster(NOTE.cluster).root)
    place = layout.data_dir / (mounted or "clusters")
    mount = 'mount --bind "$0" "$0" && ' if mounted else ""
    command = f'{mount}exec "$@"'
    python = [sys.executable, "-c", MOUNTED, str(layout.data_dir), str(root)]
    found = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command, str(place), *python], capture_output=True, text=True
    )
    if "ermission denied" in found.stderr or "not permitted" in found.stderr:
        pytest.skip("this container may not mount")
    assert found.stdout == f"{not mounted}\n", found.stderr


def test_all_names_are_found_however_many_there_are(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_NAMES", 3)
    for _ in range(5):
        trash.put(layout, [filled(layout.cluster(NOTE.cluster).root)], NOTE)
    root = layout.cluster(DELETED.cluster).root
    trash.put(layout, [filled(root)], DELETED)
    assert len(trash.entries(layout)) == 6
    assert DELETED.deleted_at is not None
    assert trash.find(layout, DELETED.cluster, DELETED.deleted_at) is not None
    assert trash.names(layout, uuid4()) == []
    assert {trash.cluster_of(name) for name in trash.names(layout)} == {NOTE.cluster}


def away(layout: Layout, cluster: Cluster, now: datetime) -> TrashNote | None:
    return deletion.trash_note(NodeContext(cluster, cluster.nodes[0], replace_site(layout)), now)


def replace_site(layout: Layout) -> HostContext:
    return dataclasses.replace(SITE, layout=layout, trash_days=7, ephemeral=False)


def test_the_copy_of_a_standby_is_kept_when_its_cluster_was_recovered_elsewhere(layout: Layout) -> None:
    """The primary and it were lost before it took over, so it may be all that is left of the last rows."""
    [node] = CLUSTER.nodes
    new = replace(node, name="node-2", host="there")
    plan = BackupPlan(sealed_passphrase="sealed")
    moved = replace(CLUSTER, nodes=(new,), left=(node,), backups=plan)
    recovered = replace(moved, backups=replace(plan, lineage="20261129T070000Z-0123abcd"))

    def note(cluster: Cluster) -> TrashNote | None:
        return deletion.trash_note(NodeContext(cluster, node, replace_site(layout)), NOTE.at)

    assert note(recovered) is None, "there is no data"
    paths = layout.node(CLUSTER.id, node.name)
    paths.data.mkdir(parents=True)
    paths.standby_signal.touch()
    assert note(moved) is None, "the cluster goes on with what it has copied"
    assert note(recovered) is not None


def test_a_node_of_a_deleted_cluster_is_kept_also_before_it_is_promoted(layout: Layout) -> None:
    cluster = deletions.deleted(CLUSTER, NOTE.at, 7)
    paths = layout.node(cluster.id, cluster.nodes[0].name)
    assert away(layout, cluster, NOTE.at) is None, "it has no data"
    filled(layout.cluster(cluster.id).root)
    paths.standby_signal.touch()
    note = away(layout, cluster, NOTE.at)
    assert note is not None
    assert (note.deleted_at, note.until) == (NOTE.at, NOTE.at + timedelta(days=7))
    assert away(layout, deletions.purged(cluster), NOTE.at) is None


def test_what_comes_late_into_the_trash_is_there_for_some_days(layout: Layout) -> None:
    cluster = deletions.deleted(CLUSTER, NOTE.at, 3)
    filled(layout.cluster(cluster.id).root)
    for days, until in ((0, 3), (1, 8), (30, 37)):
        note = away(layout, cluster, NOTE.at + timedelta(days=days))
        assert note is not None
        assert note.until == NOTE.at + timedelta(days=until)


def test_data_that_is_nowhere_is_missed_only_where_it_was(layout: Layout) -> None:
    gone = deletions.deleted(CLUSTER, NOTE.at, 7)
    back = deletions.undeleted(gone, gone.name, gone.nodes)
    [node] = back.nodes
    deletion.take_back(layout, back, node.name, is_needed=False)
    with pytest.raises(CenoteError, match="neither in the trash of this host nor in its place"):
        deletion.take_back(layout, back, node.name, is_needed=True)
    root = filled(layout.cluster(back.id).root)
    trash.put(layout, [root], replace(DELETED, cluster=back.id))
    again = deletions.deleted(back, NOTE.at + timedelta(hours=1), 7)
    deletion.take_back(layout, again, node.name, is_needed=False)
    assert (root / "pg" / "PG_VERSION").exists(), "it is removed from there"
