"""What a node that begins to take writes has archived again: real files, without a server."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import msgspec

from cenote.agent import promotions
from cenote.engine.plan.context import NodeContext
from cenote.host import system_identifier
from cenote.model.paths import Layout
from tests.support.wanted import CLUSTER, SITE

SEGMENT = "000000010000000000000005"


def is_system(context: NodeContext, identifier: int) -> None:
    """Give the data of a node a system identifier, as ``pg_control`` has it."""
    content = struct.pack("<Q", identifier).ljust(288, b"\0")
    folder = context.paths.data / "global"
    folder.mkdir(exist_ok=True)
    content += struct.pack("<I", system_identifier.crc32c(content))
    (folder / "pg_control").write_bytes(content.ljust(8192, b"\0"))


def archived_again(context: NodeContext, timeline: str) -> bool:
    """Return whether a segment that counts as archived is to be archived again."""
    status = context.paths.data / "pg_wal" / "archive_status"
    for path in status.iterdir():
        path.unlink()
    (status / f"{SEGMENT}.done").touch()
    promotions.notice(context, timeline)
    return [path.name for path in status.iterdir()] == [f"{SEGMENT}.ready"]


def test_all_is_archived_again_once_for_each_timeline_of_each_system(tmp_path: Path) -> None:
    [first] = CLUSTER.nodes
    cluster = msgspec.structs.replace(CLUSTER, nodes=(first, msgspec.structs.replace(first, name="node-2")))
    context = NodeContext(cluster, first, replace(SITE, layout=Layout(tmp_path)))
    (context.paths.data / "pg_wal" / "archive_status").mkdir(parents=True)
    (context.paths.data / "pg_wal" / SEGMENT).touch()
    context.cluster_paths.backup_state.mkdir(parents=True)
    assert not archived_again(context, "00000002")  # of which system is not known
    is_system(context, 1)
    assert not archived_again(context, promotions.FIRST_TIMELINE)
    assert [archived_again(context, "00000002") for _ in range(2)] == [True, False]
    is_system(context, 2)  # after an upgrade to another major version
    assert [archived_again(context, "00000002") for _ in range(2)] == [True, False]
    assert archived_again(context, "00000003")
