"""Paths are opened without a link that another account could have made, whichever way the kernel allows."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cenote.host import files, safe_open
from cenote.host.safe_open import Opener

OTHERS = 65534
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@pytest.fixture(params=[safe_open.open_by_kernel, safe_open.open_by_steps])
def opener(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Opener:
    """Both ways to open; a kernel without the first uses the second."""
    if request.param is safe_open.open_by_kernel and safe_open._choose() is not request.param:
        pytest.fail("this kernel has no openat2(2), or a filter refuses it")
    chosen: Opener = request.param
    monkeypatch.setattr(safe_open, "_open", chosen)
    return chosen


def test_nothing_on_the_path_may_be_a_link(tmp_path: Path, opener: Opener) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "folder" / "linked").symlink_to("file")
    real = Path(os.path.realpath(tmp_path))
    os.close(opener(str(real / "folder" / "file"), READ, 0))
    for name in ("link/file", "folder/linked"):
        with pytest.raises(OSError, match=r"symbolic link|Not a directory"):
            opener(str(real / name), READ, 0)
    with pytest.raises(FileNotFoundError):
        opener(str(real / "folder" / "missing"), READ, 0)
    with pytest.raises(FileExistsError):
        opener(str(real / "folder" / "file"), READ | os.O_CREAT | os.O_EXCL, 0o600)


def test_a_descriptor_is_closed_on_exec_and_leaves_no_other_behind(tmp_path: Path, opener: Opener) -> None:
    (tmp_path / "file").write_text("x")
    before = os.listdir("/proc/self/fd")
    descriptor = safe_open.open_path(tmp_path / "file", os.O_RDONLY)
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    with pytest.raises(FileNotFoundError):
        safe_open.open_path(tmp_path / "missing" / "file", os.O_RDONLY)
    assert os.listdir("/proc/self/fd") == before


def test_a_data_directory_behind_a_link_of_ours_works(tmp_path: Path, opener: Opener) -> None:
    (tmp_path / "disk" / "cenote").mkdir(parents=True)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "cenote").symlink_to("../disk/cenote")
    data = tmp_path / "lib" / "cenote"
    files.make_directory(data / "clusters" / "one", 0o700, None)
    for path in (data / "file", data / "clusters" / "one" / "file"):
        files.write(path, b"x", 0o600, None)
        assert files.read(path) == b"x"
    assert files.names(data) == ["clusters", "file"]
    (tmp_path / "disk" / "cenote").chmod(0o700)
    assert files.mode_of(data) == 0o700
    files.make_directory(data, 0o711, None)
    assert files.mode_of(tmp_path / "disk" / "cenote") == 0o711
    files.remove(data / "clusters")
    assert files.names(tmp_path / "disk" / "cenote") == ["file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has links that others do not make")
@pytest.mark.parametrize(
    "place", ["in a folder of theirs", "of theirs", "below a folder of theirs", "in a shared folder"]
)
def test_a_link_that_another_account_could_have_made_is_not_followed(
    tmp_path: Path, opener: Opener, place: str
) -> None:
    (tmp_path / "roots").mkdir()
    (tmp_path / "roots" / "file").write_text("x")
    folder = tmp_path / "theirs" / "inner"
    folder.mkdir(parents=True)
    link = folder / "link"
    link.symlink_to(tmp_path / "roots")
    assert files.read(link / "file") == b"x"
    match place:
        case "in a folder of theirs":
            os.chown(folder, OTHERS, OTHERS)
        case "of theirs":
            os.chown(link, OTHERS, OTHERS, follow_symlinks=False)
        case "below a folder of theirs":
            os.chown(folder.parent, OTHERS, OTHERS)
        case _:
            folder.chmod(0o777)
    assert files.read(link / "file") is None
    with pytest.raises(OSError, match=r"symbolic link|Not a directory") as refused:
        files.write(link / "new", b"x", 0o600, None)
    assert refused.value.errno in (errno.ELOOP, errno.ENOTDIR)
    assert files.names(tmp_path / "roots") == ["file"]


def test_links_that_lead_in_a_circle_are_an_error(tmp_path: Path, opener: Opener) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic link"):
        files.write(tmp_path / "a" / "file", b"x", 0o600, None)


def test_a_rename_to_a_new_name_takes_no_name_away(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with pytest.raises(FileExistsError):
        safe_open.rename_new(tmp_path / "one", tmp_path / "two")
    safe_open.rename_new(tmp_path / "one", tmp_path / "three")
    assert files.names(tmp_path) == ["three", "two"]
