"""The files of the two key rings: whose they are, what they begin with, and starts that are cut off."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from cenote.errors import Misconfigured
from cenote.host import privileges
from cenote.host.processes import Account
from cenote.model.paths import Layout
from cenote.model.record import Secret
from cenote.security.sealing import Sealer
from cenote.server import key_files
from cenote.server.key_files import prepare_keys
from tests.support.folders import server_folder

OURS = Account("us")
API = Account("cenote-api", 61_001, 61_001)  # a uid needs no entry in the system's list of users
OTHER = Account("other", 61_002, 61_002)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes of owners need root")


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    yield Layout(tmp_path)
    assert not list(tmp_path.rglob(".sealing.*"))


def owner_of(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def ids(path: Path) -> list[str]:
    return [key.id for key in Sealer(path).keys]


def assert_owned(layout: Layout, account: Account) -> None:
    ours = os.geteuid(), os.getegid()
    api = account.owner or ours
    assert owner_of(layout.keys) == (*ours, 0o700)
    assert owner_of(layout.host_keys) == (*ours, 0o600)
    assert owner_of(layout.api) == (*api, 0o700)
    assert owner_of(layout.api_sealing_key) == (*api, 0o600)
    assert owner_of(layout.api_host_keys) == (*api, 0o600)


def test_the_first_start_makes_two_rings_and_the_next_one_changes_nothing(layout: Layout) -> None:
    prepare_keys(layout, OURS)
    assert_owned(layout, OURS)
    files = [layout.host_keys, layout.api_sealing_key, layout.api_host_keys]
    before = [(path.read_bytes(), path.stat().st_ino) for path in files]
    prepare_keys(layout, OURS)
    assert [(path.read_bytes(), path.stat().st_ino) for path in files] == before
    assert ids(layout.host_keys) == ids(layout.api_host_keys)
    assert ids(layout.host_keys) != ids(layout.api_sealing_key)


@needs_root
def test_the_account_of_the_api_may_appear_change_and_go_away(layout: Layout) -> None:
    kept: list[list[str]] = []
    for account in (OURS, API, OTHER, OURS, API):
        prepare_keys(layout, account)
        assert_owned(layout, account)
        kept.append(ids(layout.api_sealing_key) + ids(layout.host_keys))
    assert kept == kept[:1] * 5


def test_the_key_of_a_former_version_opens_in_ring_api_and_stays_until_the_store_is_migrated(
    layout: Layout,
) -> None:
    former = Sealer(layout.former_sealing_key)
    sealed = former.seal(Secret("password"))
    prepare_keys(layout, OURS)
    prepare_keys(layout, OURS)
    assert Sealer(layout.api_sealing_key).open(sealed) == Secret("password")
    assert ids(layout.former_sealing_key) == ids(layout.api_sealing_key)
    with pytest.raises(Misconfigured):
        Sealer(layout.host_keys).open(sealed)
    key_files.remove_former(layout)
    key_files.remove_former(layout)
    prepare_keys(layout, OURS)
    assert Sealer(layout.api_sealing_key).open(sealed) == Secret("password")


def test_after_the_way_back_the_former_versions_newest_key_seals_and_no_key_is_lost(layout: Layout) -> None:
    Sealer(layout.former_sealing_key)
    prepare_keys(layout, OURS)
    ours = Sealer(layout.api_sealing_key).seal(Secret("since the upgrade"))
    former = Sealer(layout.former_sealing_key)
    added = former.add_key()
    former.remove_keys([former.keys[0].id])
    prepare_keys(layout, OURS)
    ring = Sealer(layout.api_sealing_key)
    assert ring.keys[-1].id == added.id
    assert ring.open(ours) == Secret("since the upgrade")


def test_log_sinks_of_a_former_version_are_sealed_for_the_hosts(layout: Layout) -> None:
    prepare_keys(layout, OURS)
    assert key_files.sealed_for_hosts(layout)(b'["v1.x"]') == b'["v1.x"]'
    former = Sealer(layout.former_sealing_key)
    prepare_keys(layout, OURS)
    config, foreign = former.seal(Secret("config")), Sealer(layout.data_dir / "x").seal(Secret("foreign"))
    sinks = msgspec.json.encode([{"id": str(uuid4()), "sealed_config": one} for one in (config, foreign)])
    found = msgspec.json.decode(key_files.sealed_for_hosts(layout)(sinks))
    assert Sealer(layout.host_keys).open(found[0]["sealed_config"]) == Secret("config")
    assert found[1]["sealed_config"] == foreign
    with pytest.raises(Misconfigured):
        Sealer(layout.api_sealing_key).open(found[0]["sealed_config"])


def test_the_rings_of_agent_and_api_are_the_same_after_a_rotation_that_was_cut_off(layout: Layout) -> None:
    prepare_keys(layout, OURS)
    [old] = ids(layout.host_keys)
    agent = Sealer(layout.host_keys)
    new = agent.add_key().id  # the agent alone has it: nothing is sealed with it
    prepare_keys(layout, OURS)
    assert ids(layout.api_host_keys) == ids(layout.host_keys) == [old, new]
    Sealer(layout.host_keys).remove_keys([old])  # the agent alone has removed it
    prepare_keys(layout, OURS)
    assert ids(layout.api_host_keys) == ids(layout.host_keys) == [old, new]


def test_a_lost_file_of_ring_host_comes_back_from_the_other_one(layout: Layout) -> None:
    prepare_keys(layout, OURS)
    before = ids(layout.host_keys)
    for lost in (layout.host_keys, layout.api_host_keys):
        lost.unlink()
        prepare_keys(layout, OURS)
        assert ids(layout.host_keys) == ids(layout.api_host_keys) == before


STEPS = ("rename", "fsync", "mkdir", "fchown")


@needs_root
@pytest.mark.parametrize("step", STEPS)
def test_a_start_that_is_cut_off_between_two_steps_loses_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    layout = Layout(tmp_path)
    former = Sealer(layout.former_sealing_key)
    sealed = former.seal(Secret("password"))
    real = getattr(os, step)

    def dies_at(number: int) -> Callable[..., object]:
        count = 0

        def counted(*given: object, **named: object) -> object:
            nonlocal count
            count += 1
            if count == number:
                raise KeyboardInterrupt
            return real(*given, **named)

        return counted

    for number in range(1, 4):
        monkeypatch.setattr(os, step, dies_at(number))
        try:
            prepare_keys(layout, API)
        except KeyboardInterrupt:
            pass
        else:
            break
    monkeypatch.undo()
    prepare_keys(layout, API)
    assert_owned(layout, API)
    assert Sealer(layout.api_sealing_key).open(sealed) == Secret("password")
    assert ids(layout.host_keys) == ids(layout.api_host_keys)
    assert not list(tmp_path.rglob(".sealing.*"))


@needs_root
@pytest.mark.parametrize("name", ["sealing.key", "host.key"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_no_link_in_the_apis_folder_is_followed_and_what_it_leads_to_stays_ours(
    layout: Layout, name: str, link: Callable[[Path, Path], None]
) -> None:
    prepare_keys(layout, API)
    ours = layout.data_dir / "ours"
    ours.write_text("ab" * 32)
    ours.chmod(0o600)
    (layout.api / name).unlink()
    link(ours, layout.api / name)
    with pytest.raises(Misconfigured, match=f"{name} is not a file of keys"):
        prepare_keys(layout, API)
    assert (ours.read_text(), *owner_of(ours)) == ("ab" * 32, 0, 0, 0o600)
    (layout.api / name).unlink()
    prepare_keys(layout, API)
    assert_owned(layout, API)


def test_a_link_in_place_of_a_folder_is_refused(layout: Layout) -> None:
    elsewhere = layout.data_dir / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    layout.api.symlink_to(elsewhere)
    with pytest.raises(Misconfigured, match="cannot be used"):
        prepare_keys(layout, OURS)
    assert list(elsewhere.iterdir()) == []
    assert owner_of(elsewhere)[2] == 0o755


def test_what_is_no_key_file_is_refused_in_words_that_hide_it(layout: Layout) -> None:
    prepare_keys(layout, OURS)
    layout.api_sealing_key.write_text("a-secret-of-another-kind")
    with pytest.raises(Misconfigured, match="holds no key") as refusal:
        prepare_keys(layout, OURS)
    assert "another-kind" not in str(refusal.value)
    layout.api_sealing_key.write_text("ab" * 32)
    layout.api_sealing_key.chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod 600"):
        prepare_keys(layout, OURS)
    layout.api_sealing_key.unlink()
    os.mkfifo(layout.api_sealing_key)
    with pytest.raises(Misconfigured, match="not a file of keys"):
        prepare_keys(layout, OURS)


@needs_root
def test_temporary_files_of_a_killed_process_are_removed(layout: Layout) -> None:
    prepare_keys(layout, API)
    for folder in (layout.api, layout.keys):
        (folder / ".sealing.left").write_text("a key that was removed")
    prepare_keys(layout, API)


@needs_root
def test_the_api_opens_its_rings_with_no_more_rights_than_its_account_has() -> None:
    with server_folder() as folder:
        folder.chmod(0o755)
        layout = Layout(folder)
        prepare_keys(layout, API)
        before = os.geteuid(), os.getegid(), os.getgroups()
        (layout.api / "link").symlink_to(layout.host_keys)
        with privileges.acting_as(API):
            assert [key.id for key in Sealer(layout.api_host_keys).keys]
            assert os.getgroups() == []
            with pytest.raises(Misconfigured, match="Permission denied"):
                Sealer(layout.api / "link")
        assert (os.geteuid(), os.getegid(), os.getgroups()) == before
