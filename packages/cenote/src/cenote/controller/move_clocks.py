"""How long moves take, by monotonic time of this process; so another controller only prolongs them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from cenote.model.records import Cluster, Configuration, MoveStage
from cenote.model.status_records import NodeStatus
from cenote.rules.move_progress import Times

PARDON_SECONDS = 3600.0  # without an error, after which the next one counts as the first


@dataclass(slots=True)
class _Known:
    """A move, by the name of its target, with the times at which it, its stage and its failures began."""

    target: str
    began: float
    stage: tuple[MoveStage, int]  # with the switches that were given up
    stage_began: float
    brought_to: tuple[str, Configuration]  # the size and configuration that the copy is made for
    failing_since: float | None = None
    failed: float = 0.0  # when it was last seen to fail


class MoveClocks:
    """The times of all moves under way; each begins when it is first read."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._known: dict[UUID, _Known] = {}

    def read(self, cluster: Cluster, reports: Mapping[str, NodeStatus]) -> Times:
        move, now = cluster.move, self._now()
        if move is None:
            self.forget(cluster.id)
            return Times()
        brought_to = cluster.size, cluster.configuration
        stage, known = (move.stage, move.tries), self._known.get(cluster.id)
        if known is None or known.target != move.target:
            known = self._known[cluster.id] = _Known(move.target, now, stage, now, brought_to)
        if known.stage != stage:
            known.stage, known.stage_began = stage, now
        return Times(
            waited=now - known.stage_began,
            lasted=now - known.began,
            failing=self._failing(known, reports.get(move.target), brought_to),
        )

    def _failing(
        self, known: _Known, seen: NodeStatus | None, brought_to: tuple[str, Configuration]
    ) -> float:
        """Return for how long the target has failed again and again.

        One that fails is tried again, and works while that lasts.  A copy begins anew when the cluster gets
        other settings, and an error of an hour ago tells nothing of this one.
        """
        now = self._now()
        if known.brought_to != brought_to or (known.failed and now - known.failed >= PARDON_SECONDS):
            known.brought_to, known.failing_since, known.failed = brought_to, None, 0.0
        if seen is None or not seen.failing:
            if seen is not None and seen.standby is not None and seen.standby.streaming:
                known.failing_since = None
            return 0.0
        known.failed = now
        if known.failing_since is None:
            known.failing_since = now
        return now - known.failing_since

    def forget(self, id: UUID) -> None:
        self._known.pop(id, None)

    def clear(self) -> None:
        self._known.clear()
