"""Intervals for polling, which grow with the elapsed time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from .errors import AnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .types import Cluster

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0  # seconds; ten polls in the first 15 s, then six a minute


class Poller:
    """Computes the pauses between polls until a deadline."""

    def __init__(self, timeout: float) -> None:
        self._start = time.monotonic()
        self._timeout = timeout
        self._pause = FIRST_PAUSE

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._start

    def pause(self) -> float | None:
        """Return the seconds until the next poll, None after the deadline."""
        left = self._timeout - self.elapsed
        if left <= 0:
            return None
        pause, self._pause = self._pause, min(self._pause * GROWTH, LONGEST_PAUSE)
        return min(pause, left)


def cluster_of(response: Mapping[str, Any]) -> Cluster:
    """Return the cluster of a response; AnswerError if there is none with a status."""
    cluster = response.get("database")
    if not isinstance(cluster, dict) or not isinstance(cluster.get("status"), str):
        raise AnswerError(200, "unreadable_answer", "the response contains no cluster with a status")
    return cast("Cluster", cluster)


GROWTH = 1.5
