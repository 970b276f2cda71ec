"""What the sweep has found on a host that no record names, for people: a file in the data directory.

The agent writes it, and commands read it.  An operator's word that a cluster is not wanted stands as a file
in the cluster's folder, which nobody but the service's user can write into.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from cenote.host import files
from cenote.model.paths import ClusterPaths, Layout

UNWANTED = "unwanted"


class UnknownNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node that is here and that no record names; ``since`` is when that was first seen."""

    cluster: UUID
    node: str
    why: str
    since: datetime
    folder: str


def read(layout: Layout) -> list[UnknownNode]:
    """Return what the last sweep has found; nothing if there was none."""
    with contextlib.suppress(msgspec.DecodeError, ValueError):
        content = files.read(layout.unknown)
        if content is not None:
            return msgspec.json.decode(content, type=list[UnknownNode])
    return []


def write(layout: Layout, found: Sequence[UnknownNode]) -> None:
    files.write(layout.unknown, msgspec.json.encode(found) + b"\n", 0o600, None, durable=False)


def is_unwanted(paths: ClusterPaths) -> bool:
    return files.read(paths.root / UNWANTED) is not None


def mark_unwanted(paths: ClusterPaths) -> None:
    """Have the agent remove a cluster's folder, as long as no record names it."""
    files.write(paths.root / UNWANTED, b"", 0o600, None)


def forget_unwanted(paths: ClusterPaths) -> None:
    """Take that back, once nothing of the cluster is unknown."""
    if is_unwanted(paths):
        files.remove(paths.root / UNWANTED)
