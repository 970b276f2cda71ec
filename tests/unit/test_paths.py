from __future__ import annotations

import signal
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.errors import Misconfigured
from cenote.model.paths import Layout

LAYOUT = Layout(Path("/data"))
ID = UUID("12345678-9abc-def0-1234-56789abcdef0")


def test_a_node_stands_in_a_folder_of_its_own_and_its_sockets_in_a_short_one() -> None:
    paths = LAYOUT.node(ID)
    assert paths.root == Path("/data/clusters/12345678-9abc-def0-1234-56789abcdef0")
    assert paths.sockets == Path("/data/run/123456789abc")
    for path in (paths.data, paths.pooler, paths.certificate):
        assert path.is_relative_to(paths.root)


def test_nodes_are_found_again_by_their_folders(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert layout.nodes() == []
    layout.node(ID).root.mkdir(parents=True)
    (layout.clusters / "lost+found").mkdir()
    assert layout.nodes() == [layout.node(ID)]


def test_two_nodes_share_nothing() -> None:
    one, other = LAYOUT.node(uuid4()), LAYOUT.node(uuid4())
    assert {one.root, one.sockets}.isdisjoint({other.root, other.sockets})


@given(st.integers(1, 200))
def test_a_folder_is_refused_exactly_when_its_sockets_would_not_fit(length: int) -> None:
    layout = Layout(Path("/" + "d" * length))
    longest = layout.node(ID).sockets / ".s.PGSQL.65535.lock"
    excess = len(str(longest)) - 107
    if excess > 0:
        with pytest.raises(Misconfigured, match=rf"by {excess} bytes; .*--data-dir"):
            layout.check()
    else:
        layout.check()


def test_a_paths_length_is_counted_in_bytes() -> None:
    with pytest.raises(Misconfigured):
        Layout(Path("/" + "ä" * 40)).check()


def test_a_server_is_stopped_so_that_its_next_start_needs_no_recovery() -> None:
    assert LAYOUT.node(ID).server(Path("/bin")).stop_signal is signal.SIGINT


def test_the_stamp_and_log_of_a_program_stand_outside_the_folder_that_it_works_in() -> None:
    paths = LAYOUT.node(ID)
    for program in (paths.server(Path("/bin")), paths.bouncer(Path("/bin/pgbouncer"))):
        assert program.pid_file.parent == program.directory
        for path in (program.log, program.stamp):
            assert path.parent == paths.root
