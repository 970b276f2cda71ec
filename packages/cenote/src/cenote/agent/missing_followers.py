"""When to look again whether all other nodes of a cluster follow the one that takes writes.

Nothing wakes the writer's loop when a standby connects, and what it has reported last decides which node can
take over, and what is shown of each.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cenote.model.records import Cluster
from cenote.model.status_records import NodeStatus

PAUSE, SOON = 0.5, 30.0  # seconds between looks, in the first seconds
LONG_PAUSE = 5.0  # seconds between later ones


class MissingFollowers:
    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._since: float | None = None

    def look_after(self, cluster: Cluster, seen: NodeStatus, *, leads: bool) -> float | None:
        """Return the seconds until the next look, None if no node is missing, or ``seen`` is no writer's."""
        others = sum(node.lost_at is None for node in cluster.nodes) - 1
        if not leads or len(seen.quorum) >= others:
            self._since = None
            return None
        if self._since is None:
            self._since = self._now()
        if self._now() - self._since < SOON:
            return PAUSE
        # Whether commits wait for standbys at all is the cluster's choice.
        return LONG_PAUSE if len(seen.followers) < others else None
