"""Removing folders, also those whose removal was cut short."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from uuid import UUID

from cenote.engine import look
from cenote.engine.plan import removal
from cenote.host import files, processes
from cenote.model.changes import EndProcesses, Remove
from cenote.model.paths import FIRST_NODE, Layout
from tests.support import process_table
from tests.support.lab import lab


def test_what_an_interrupted_removal_left_is_seen_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    (tmp_path / ".removing-cluster" / "pg").mkdir(parents=True)
    assert files.needs_removal(folder)
    files.remove(folder)
    assert list(tmp_path.iterdir()) == []
    assert not files.needs_removal(folder)


def test_a_folder_goes_with_what_an_earlier_removal_of_its_name_left(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    (tmp_path / ".removing-cluster" / "pg").mkdir(parents=True)
    files.remove(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    files.remove(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_removal_that_was_cut_short_is_planned_again() -> None:
    async def scenario() -> None:
        async with lab() as here:
            wanted = here.wanted(here.new_cluster())
            root = wanted.cluster_paths.root
            (root.parent / f".removing-{root.name}" / "pg").mkdir(parents=True)
            changes = list(removal.plan(wanted, look.removal.look(wanted)))
            assert changes == [Remove(root)]
            await here.remove(wanted.cluster)
            assert list(root.parent.iterdir()) == []
            assert list(removal.plan(wanted, look.removal.look(wanted))) == []

    asyncio.run(scenario())


def test_a_folder_that_is_being_removed_is_no_node(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    id = UUID("6a0e7f3c-0a55-4d2c-8a3c-3f5f4a3e9b11")
    layout.node(id, FIRST_NODE).data.mkdir(parents=True)
    (layout.clusters / ".removing-9cc10173-e9ea-4176-9dbc-a4cee4c4ff30").mkdir()
    (layout.clusters / "notes").mkdir()
    assert layout.nodes() == [layout.node(id, FIRST_NODE)]


def test_a_server_that_is_ended_gives_its_shared_memory_back() -> None:
    async def scenario() -> None:
        async with lab() as here:
            cluster = here.new_cluster()
            await here.converge(cluster)
            used = segments(here.wanted(cluster).cluster_paths.root)
            assert used
            await here.executor.do(EndProcesses(here.folder), here.session(cluster))
            assert [path for path in used if path.exists()] == []

    asyncio.run(scenario())


def segments(root: Path) -> set[Path]:
    """Return the files of shared memory that the servers of a node have open."""
    found = set()
    for _, maps in process_table.files("maps", (process.pid for process in processes.below(root))):
        found |= {Path(path) for path in re.findall(r"/dev/shm/PostgreSQL\.\d+", maps.decode())}
    return found
