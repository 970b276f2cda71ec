from __future__ import annotations

import signal
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.errors import Misconfigured
from cenote.model.paths import FIRST_NODE, Layout, NodePaths
from cenote.model.records import NODE_NAME, LogSource

LAYOUT = Layout(Path("/data"))
ID = UUID("12345678-9abc-def0-1234-56789abcdef0")


names = st.from_regex(NODE_NAME)


def test_a_cluster_stands_in_a_folder_of_its_own_and_its_sockets_in_a_short_one() -> None:
    paths = LAYOUT.cluster(ID)
    assert paths.root == Path("/data/clusters/12345678-9abc-def0-1234-56789abcdef0")
    assert paths.sockets == Path("/data/run/123456789abc")
    for path in (LAYOUT.node(ID, FIRST_NODE).data, paths.pooler, paths.certificate):
        assert path.is_relative_to(paths.root)


def test_the_files_of_the_first_node_are_where_running_servers_have_them() -> None:
    paths, id = LAYOUT.node(ID, FIRST_NODE), uuid4()
    assert files_of(paths, id) == {"pg", "postgresql.log", "postgresql.loaded", f"sink-{id}.json"}
    assert (paths.cluster.pooler.name, paths.log(LogSource.PGBOUNCER).name) == ("pgbouncer", "pgbouncer.log")
    assert files_of(LAYOUT.node(ID, "node-2"), id) == {
        "pg-node-2",
        "postgresql-node-2.log",
        "postgresql-node-2.loaded",
        f"sink-node-2-{id}.json",
    }


def files_of(paths: NodePaths, sink: UUID) -> set[str]:
    server = paths.server(Path())
    found = (paths.data, server.log, server.stamp, paths.sink(sink))
    assert {path.parent for path in found} == {paths.cluster.root}
    return {path.name for path in found}


@given(names, names)
def test_two_nodes_of_a_cluster_share_the_pooler_and_nothing_else(one: str, other: str) -> None:
    id = uuid4()
    first, second = LAYOUT.node(ID, one), LAYOUT.node(ID, other)
    assert first.cluster == second.cluster
    assert files_of(first, id).isdisjoint(files_of(second, id)) == (one != other)
    assert second.sink_id(first.sink(id).name) == (id if one == other else None)
    shared = {first.cluster.pooler.name, first.cluster.pooler_log.name, "pgbouncer.loaded", "tls"}
    assert shared.isdisjoint(files_of(first, id))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "-a", "A", "a b", "a\0", "a\n", "a" * 41])
def test_a_name_that_could_lead_elsewhere_is_no_name_of_a_node(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a node"):
        LAYOUT.node(ID, name)


def test_nodes_are_found_again_by_their_folders_and_stamps(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert (layout.nodes(), layout.hosted()) == ([], [])
    nodes = [layout.node(ID, name) for name in (FIRST_NODE, "node-2", "node-3")]
    nodes[0].cluster.pooler.mkdir(parents=True)
    (layout.clusters / "lost+found").mkdir()
    assert (layout.hosted(), layout.nodes()) == ([layout.cluster(ID)], [])
    nodes[0].data.mkdir()
    nodes[1].data.mkdir()
    nodes[2].server(Path()).stamp.touch()  # a server whose folder was moved away may still run
    for other in ("pg-", "pg-Other", "pg_x", "postgresql.log", "postgresql-node-4.log"):
        (nodes[0].cluster.root / other).touch()
    assert layout.nodes() == nodes


def test_two_clusters_share_nothing() -> None:
    one, other = LAYOUT.cluster(uuid4()), LAYOUT.cluster(uuid4())
    assert {one.root, one.sockets}.isdisjoint({other.root, other.sockets})


@given(st.integers(1, 200))
def test_a_folder_is_refused_exactly_when_its_sockets_would_not_fit(length: int) -> None:
    layout = Layout(Path("/" + "d" * length))
    longest = layout.cluster(ID).sockets / ".s.PGSQL.65535.lock"
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
    assert LAYOUT.node(ID, FIRST_NODE).server(Path("/bin")).stop_signal is signal.SIGINT


def test_the_stamp_and_log_of_a_program_stand_outside_the_folder_that_it_works_in() -> None:
    paths = LAYOUT.cluster(ID)
    server = LAYOUT.node(ID, FIRST_NODE).server(Path("/bin"))
    for program in (server, paths.bouncer(Path("/bin/pgbouncer"))):
        assert program.pid_file.parent == program.directory
        for path in (program.log, program.stamp):
            assert path.parent == paths.root
