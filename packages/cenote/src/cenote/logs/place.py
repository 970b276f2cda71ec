"""Where log messages come from, for those who receive them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Place:
    """A node of a cluster, with the names of the cluster and of the node's host."""

    cluster_id: UUID
    cluster: str
    node: str
    host: str
