"""Files and folders: in one step or not at all, and for their owner alone."""

from __future__ import annotations

import os
import signal
import stat
import threading
from pathlib import Path

import pytest

from cenote.host import files, processes, system
from cenote.host.processes import Account
from cenote.model.changes import Program


def test_a_reader_sees_the_old_file_or_the_new_one_and_never_half_of_one(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    contents = [bytes([letter]) * 300_000 for letter in b"ab"]
    files.write(path, contents[0], 0o600, None)
    seen, ended = set(), threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(200):
            files.write(path, contents[number % 2], 0o600, None)
    finally:
        ended.set()
        reader.join()
    assert seen <= set(contents)
    assert [entry.name for entry in tmp_path.iterdir()] == ["settings"]


def test_a_file_has_its_mode_and_owner_from_the_beginning(tmp_path: Path) -> None:
    owner = (os.geteuid(), os.getegid()) if os.geteuid() != 0 else (65534, 65534)
    os.chown(tmp_path, *owner)
    path = tmp_path / "settings"
    files.write(path, b"x", 0o640, owner)
    found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert (found.st_uid, found.st_gid) == owner


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.mkdir()
    (path / "inside").write_text("kept")
    with pytest.raises(OSError, match="directory"):
        files.write(path, b"x", 0o600, None)
    assert [entry.name for entry in tmp_path.iterdir()] == ["settings"]
    assert (path / "inside").read_text() == "kept"


def test_what_is_not_there_is_read_as_none(tmp_path: Path) -> None:
    assert files.read(tmp_path / "missing") is None
    assert files.mode_of(tmp_path / "missing") is None
    assert files.tail(tmp_path / "missing") == ""


def test_what_is_no_plain_file_is_read_as_none_and_never_waited_for(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of somebody else")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(files.LARGEST + 1)  # takes no space
    for name in ("link", "folder", "pipe", "huge"):
        assert files.read(tmp_path / name) is None, name
    files.write(tmp_path / "link", b"ours", 0o600, None)
    assert files.read(tmp_path / "link") == b"ours"
    assert (tmp_path / "secret").read_text() == "of somebody else"


def test_a_folder_that_is_open_to_others_is_shut(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    files.make_directory(folder, 0o700, None)
    folder.chmod(0o755)
    assert files.mode_of(folder) == 0o755
    files.make_directory(folder, 0o700, None)
    assert files.mode_of(folder) == 0o700


def test_a_removal_takes_a_file_a_folder_a_link_and_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "inside").write_text("kept")
    file, folder, link = (tmp_path / name for name in ("file", "folder", "link"))
    file.write_text("x")
    (folder / "deep" / "deeper").mkdir(parents=True)
    link.symlink_to(kept)
    for path in (file, folder, link, tmp_path / "missing"):
        files.remove(path)
        assert not files.needs_removal(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]
    assert (kept / "inside").read_text() == "kept"


def test_a_log_that_has_grown_is_moved_aside_under_the_feet_of_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    with path.open("ab", buffering=0) as log:
        log.write(b"old\n" * 100)
        files.copytruncate(path, 1000)
        assert path.read_bytes() == b"old\n" * 100
        files.copytruncate(path, 100)
        log.write(b"new\n")
    assert path.read_bytes() == b"new\n"
    assert path.with_name("server.log.1").read_bytes() == b"old\n" * 100


def test_the_end_of_a_log_is_given_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_bytes(b"x" * 10_000 + b"\none\n two \n\xff\n\n")
    assert files.tail(path, lines=3) == "one / two / \ufffd"


def test_free_room_is_told_of_the_file_system_of_a_folder(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    assert system.free_mib(tmp_path) <= found.f_blocks * found.f_frsize // 2**20


def test_no_link_leads_us_out_of_a_folder(tmp_path: Path) -> None:
    """Where we are root, who owns the folder could have us give it whatever is on the machine."""
    owner = (os.geteuid(), os.getegid()) if os.geteuid() != 0 else (65534, 65534)
    elsewhere, inside = tmp_path / "elsewhere", tmp_path / "inside"
    elsewhere.mkdir(mode=0o755)
    inside.mkdir()
    os.chown(inside, *owner)
    (elsewhere / "file").write_text("not yours\n")
    before = [(path.stat().st_mode, path.stat().st_uid) for path in (elsewhere, elsewhere / "file")]
    for name, target in (("folder", elsewhere), ("log", elsewhere / "file"), ("log.1", elsewhere / "file")):
        (inside / name).symlink_to(target)
    with pytest.raises(OSError, match="symbolic link"):
        files.copytruncate(inside / "log", 1)
    assert files.tail(inside / "log") == ""
    program = Program(
        name="none",
        argv=("true",),
        directory=inside,
        pid_file=inside / "pid",
        log=inside / "log",
        stamp=inside / "stamp",
        stop_signal=signal.SIGTERM,
    )
    with pytest.raises(OSError, match="symbolic link"):
        processes.start(program, Account("nobody", *owner))
    (inside / "log").unlink()
    (inside / "log").write_text("a line of ours\n")
    with pytest.raises(OSError, match="symbolic link"):
        files.copytruncate(inside / "log", 1)
    if os.geteuid() == 0:  # a link to a folder that we have made ourselves is followed
        with pytest.raises(OSError, match=r"Not a directory|symbolic link"):
            files.make_directory(inside / "folder", 0o700, owner)
        with pytest.raises(OSError, match="symbolic link"):
            files.write(inside / "folder" / "new", b"x", 0o600, owner)
    assert [path.name for path in elsewhere.iterdir()] == ["file"]
    assert (elsewhere / "file").read_text() == "not yours\n"
    assert [(path.stat().st_mode, path.stat().st_uid) for path in (elsewhere, elsewhere / "file")] == before


def test_a_durable_file_is_on_disk_before_its_name_and_its_name_before_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "file", []
    path.write_text("old")

    def note(descriptor: int) -> None:
        seen.append((os.readlink(f"/proc/self/fd/{descriptor}").rpartition("/")[2][:6], path.read_text()))

    monkeypatch.setattr(os, "fsync", note)
    files.write(path, b"new", 0o600, None)
    assert seen == [(".file.", "old"), (tmp_path.name[:6], "new")]
    files.write(path, b"newer", 0o600, None, durable=False)
    assert len(seen) == 2


def test_a_crowd_in_a_folder_is_removed_and_listed_only_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_NAMES", 10)
    for folder in ("crowd", "crowd/inner", "crowd/inner/innermost"):
        (tmp_path / folder).mkdir()
        for number in range(25):
            (tmp_path / folder / str(number)).touch()
    assert len(files.names(tmp_path / "crowd")) == 10
    files.remove(tmp_path / "crowd")
    assert files.names(tmp_path) == []


def test_folders_on_the_way_can_be_passed_through_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        files.make_directory(tmp_path / "a" / "b" / "c", 0o750, None)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b", "a/b/c")]
    assert modes == [0o711, 0o711, 0o750]
