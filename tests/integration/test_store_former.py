"""The copy of etcd's folder from before the migration: an etcd runs on it with all records of that time."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from cenote.errors import Misconfigured
from cenote.store import EtcdClient, PrivateEtcd, former
from cenote.store import etcd_messages as messages
from cenote.store.former import keep_copy
from tests.support.etcd import etcd_program
from tests.support.folders import server_folder


def modes(folder: Path) -> set[tuple[bool, int]]:
    paths = [folder, *folder.rglob("*")]
    return {(path.is_dir(), stat.S_IMODE(path.lstat().st_mode)) for path in paths}


async def put(etcd: PrivateEtcd, key: str) -> None:
    client = EtcdClient(socket=etcd.socket)
    try:
        await client.transact(messages.TransactionRequest([], [messages.put(key, b"value")], []))
    finally:
        await client.close()


async def keys(etcd: PrivateEtcd) -> list[str]:
    client = EtcdClient(socket=etcd.socket)
    try:
        return [found.key.decode() async for page in client.pages("/", 100) for found in page.found]
    finally:
        await client.close()


def test_the_copy_is_the_way_back() -> None:
    async def scenario(folder: Path) -> None:
        etcd = PrivateEtcd(folder / "etcd", etcd_program())
        copy = folder / "etcd-before-2"
        (folder / "sealing.key").write_text("key")
        try:
            await etcd.start()
            await put(etcd, "/old")
            await etcd.stop()
            assert keep_copy(folder / "etcd" / "data", copy, folder / "sealing.key", folder / "none")
            assert modes(copy) == {(True, 0o700), (False, 0o600)}
            assert (copy / "sealing.key").read_text() == "key"
            await etcd.start()
            await put(etcd, "/new")
            await etcd.stop()
            assert not keep_copy(folder / "etcd" / "data", copy)
            (folder / "etcd" / "data").rename(folder / "migrated")
            (copy / "data").rename(folder / "etcd" / "data")
            await etcd.start()
            assert await keys(etcd) == ["/old"]
        finally:
            await etcd.stop()

    with server_folder() as folder:
        asyncio.run(scenario(folder))


def test_the_copy_takes_no_room_for_zeros_and_is_the_same(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "member").mkdir(parents=True)
    contents = {"empty": b"", "zeros": bytes(5 << 20), "mixed": bytes(3 << 20) + b"x" + bytes(1 << 20) + b"y"}
    for name, content in contents.items():
        (data / "member" / name).write_bytes(content)
    assert keep_copy(data, tmp_path / "copy")
    for name, content in contents.items():
        assert (tmp_path / "copy" / "data" / "member" / name).read_bytes() == content
    assert (tmp_path / "copy" / "data" / "member" / "zeros").stat().st_blocks == 0


def test_nothing_is_copied_through_a_link(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "link").symlink_to("/etc/passwd")
    assert keep_copy(data, tmp_path / "copy")
    assert os.listdir(tmp_path / "copy" / "data") == []
    (tmp_path / "key").symlink_to("/etc/passwd")
    with pytest.raises(Misconfigured):
        keep_copy(data, tmp_path / "other", tmp_path / "key")
    assert not (tmp_path / "other").exists()


def test_a_copy_that_was_cut_off_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    (data / "a").mkdir(parents=True)
    for name in ("a/1", "b", "c"):
        (data / name).write_bytes(b"x")
    calls = {"left": 0}
    real = former._copy_file

    class CutOff(BaseException):
        """A kill: nothing is tidied up."""

    def mortal(source: Path, target: Path) -> None:
        if calls["left"] == 0:
            raise CutOff
        calls["left"] -= 1
        real(source, target)

    monkeypatch.setattr(former, "_copy_file", mortal)
    for survived in range(3):
        calls["left"] = survived
        with pytest.raises(CutOff):
            keep_copy(data, copy)
        assert not copy.exists()
    calls["left"] = 3
    assert keep_copy(data, copy)
    assert sorted(os.listdir(tmp_path)) == ["copy", "data"]
    assert sorted(os.listdir(copy / "data")) == ["a", "b", "c"]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_bytes(b"x")

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(former, "_copy_file", full)
    with pytest.raises(Misconfigured, match="No space left on device; free some space"):
        keep_copy(tmp_path / "data", tmp_path / "copy")
    assert os.listdir(tmp_path) == ["data"]
