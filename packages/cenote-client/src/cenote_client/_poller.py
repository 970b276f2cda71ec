"""When to look again at something that takes a while: soon at first, then less and less often."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from .errors import AnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .types import Cluster

FIRST, GROWTH, LONGEST = 0.2, 1.5, 10.0  # the first quarter of a minute has ten poller, each later minute six


class Poller:
    """The poller at one thing until a deadline."""

    def __init__(self, timeout: float) -> None:
        self._start = time.monotonic()
        self._timeout = timeout
        self._pause = FIRST

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._start

    def pause(self) -> float | None:
        """Return the seconds until the next look, None when the time is over."""
        left = self._timeout - self.elapsed
        if left <= 0:
            return None
        pause, self._pause = self._pause, min(self._pause * GROWTH, LONGEST)
        return min(pause, left)


def cluster_of(answer: Mapping[str, Any]) -> Cluster:
    """Return the cluster in an answer that should hold one with a status."""
    cluster = answer.get("database")
    if not isinstance(cluster, dict) or not isinstance(cluster.get("status"), str):
        raise AnswerError(200, "unreadable_answer", "there is no cluster with a status in the answer")
    return cast("Cluster", cluster)
