"""The identity of a host, in its data directory."""

from __future__ import annotations

import socket
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from cenote.errors import Misconfigured
from cenote.host import identity
from cenote.host.identity import Identity
from cenote.model.paths import Layout
from cenote.server.settings import ServeSettings


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_the_first_start_draws_an_id_that_every_later_one_finds(layout: Layout) -> None:
    first = identity.ensure(layout, {}, None)
    assert first.name == socket.gethostname()
    assert identity.ensure(layout, {}, None) == first == identity.read(layout)
    assert layout.identity.stat().st_mode & 0o777 == 0o644


def test_a_name_is_chosen_at_the_first_start_and_kept_later(layout: Layout) -> None:
    assert identity.ensure(layout, {}, "db-1").name == "db-1"
    assert identity.ensure(layout, {}, "db-2").name == "db-1", "it is not claimed yet"


def test_the_name_of_an_old_data_directory_is_that_of_its_clusters_records(layout: Layout) -> None:
    here, elsewhere = uuid4(), uuid4()
    (layout.clusters / str(here)).mkdir(parents=True)
    assert identity.ensure(layout, {here: {"before"}, elsewhere: {"other"}}, None).name == "before"


def test_records_without_a_folder_say_nothing_of_the_name(layout: Layout) -> None:
    assert identity.old_name(layout, {uuid4(): {"other"}}) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"id": "1", "name": "a"}',
        f'{{"id": "{UUID(int=1)}"}}',
        f'{{"id": "{UUID(int=1)}", "name": ""}}',
        f'{{"id": "{UUID(int=1)}", "name": "a/b"}}',
        f'{{"id": "{UUID(int=1)}", "name": "a", "store": "x"}}',
    ],
)
def test_a_damaged_identity_is_refused_and_never_replaced(layout: Layout, content: str) -> None:
    layout.identity.write_text(content)
    with pytest.raises(Misconfigured, match=r"host\.json cannot be read"):
        identity.ensure(layout, {}, "db-1")
    assert layout.identity.read_text() == content


def test_an_identity_that_is_a_link_is_refused(layout: Layout, tmp_path: Path) -> None:
    layout.identity.symlink_to(tmp_path / "missing")
    with pytest.raises(Misconfigured, match="no regular file"):
        identity.ensure(layout, {}, None)


def test_an_identity_survives_writing_and_reading(layout: Layout) -> None:
    whole = Identity(id=uuid4(), name="db-1", store=uuid4())
    identity.write(layout, whole)
    assert identity.read(layout) == whole


def test_a_copy_of_a_data_directory_is_told_from_it(tmp_path: Path) -> None:
    for name in ("one", "copy"):
        (tmp_path / name).mkdir()
    one = identity.directory_of(Layout(tmp_path / "one"))
    assert one == identity.directory_of(Layout(tmp_path / "one"))
    assert one != identity.directory_of(Layout(tmp_path / "copy"))


@pytest.mark.parametrize("name", ["db-1", "a", "db-1.example.com", "1a", "a" * 63])
def test_a_host_name_is_a_name_of_a_host(name: str) -> None:
    ServeSettings(name=name).check()


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "a_b", "a/b", "a..b", "a" * 64, "a.\n", "ä", "a\n"])
def test_other_host_names_are_refused(name: str) -> None:
    with pytest.raises(Misconfigured, match="--name"):
        ServeSettings(name=name).check()
