"""The folders of a node, which only the servers' account can enter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cenote.engine.context import NodeContext
from cenote.host import files
from cenote.host.executor import Machine
from cenote.host.sql import Session
from cenote.model.changes import MakeDirectory, Plan

_MODE = 0o700


@dataclass(frozen=True, slots=True)
class Seen:
    modes: tuple[int | None, ...]


async def look(_machine: Machine, wanted: NodeContext, _session: Session) -> Seen:
    return Seen(tuple(files.mode_of(path) for path in _folders(wanted)))


def plan(wanted: NodeContext, seen: Seen) -> Plan:
    for path, mode in zip(_folders(wanted), seen.modes, strict=True):
        if mode != _MODE:
            yield MakeDirectory(path, _MODE)


def _folders(wanted: NodeContext) -> tuple[Path, ...]:
    paths = wanted.paths
    return (paths.root, paths.pooler, paths.certificate.parent, paths.sockets)
