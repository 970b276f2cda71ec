"""The folders of a node, which only the servers' account can enter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cenote.engine.plan.context import NodeContext
from cenote.model.changes import MakeDirectory, Plan

_MODE = 0o700


@dataclass(frozen=True, slots=True)
class Seen:
    modes: tuple[int | None, ...]


def plan(context: NodeContext, seen: Seen) -> Plan:
    for path, mode in zip(folders(context), seen.modes, strict=True):
        if mode != _MODE:
            yield MakeDirectory(path, _MODE)


def folders(context: NodeContext) -> tuple[Path, ...]:
    paths = context.cluster_paths
    return (paths.root, paths.pooler, paths.certificate.parent, paths.sockets)
