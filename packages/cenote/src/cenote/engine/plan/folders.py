"""The folders of a node, in which nobody but the service and the servers' account gets.

Where the two are different, the account owns only the folders that servers write into.  Those around them are
ours and it can merely pass through, so that it cannot put a link where we go by a path.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cenote.engine.plan.context import NodeContext
from cenote.model.changes import MakeDirectory, Plan

CLOSED, PASSED = 0o700, 0o710  # modes


@dataclass(frozen=True, slots=True)
class Seen:
    """The mode, user and group of each folder; None where there is none."""

    found: tuple[tuple[int, int, int] | None, ...]


def plan(context: NodeContext, seen: Seen) -> Plan:
    for wanted, found in zip(folders(context), seen.found, strict=True):
        if found is None or found != (wanted.mode, *(wanted.owner or found[1:])):
            yield wanted


def folders(context: NodeContext) -> tuple[MakeDirectory, ...]:
    paths, servers = context.cluster_paths, context.host.server_ids
    of_backups = (_ours(paths.backups, servers), MakeDirectory(paths.backup_state, CLOSED, servers))
    return (
        _ours(paths.root, servers),
        MakeDirectory(paths.pooler, CLOSED, servers),
        _ours(paths.certificate.parent, servers),
        MakeDirectory(paths.sockets, CLOSED, servers),
        *(of_backups if context.backups is not None else ()),
    )


def _ours(path: Path, servers: tuple[int, int] | None) -> MakeDirectory:
    return MakeDirectory(path, CLOSED) if servers is None else MakeDirectory(path, PASSED, (0, servers[1]))
