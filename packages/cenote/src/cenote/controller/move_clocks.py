"""How long moves take, by monotonic time of this process; so another controller only prolongs them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from cenote.model.records import Cluster, MoveStage
from cenote.model.status_records import NodeStatus
from cenote.rules.move_progress import Times


@dataclass(slots=True)
class _Known:
    """A move, by the name of its target, with the times at which it, its stage and its failures began."""

    target: str
    began: float
    stage: tuple[MoveStage, int]  # with the switches that were given up
    stage_began: float
    failing_since: float | None = None


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
        stage, known = (move.stage, move.tries), self._known.get(cluster.id)
        if known is None or known.target != move.target:
            known = self._known[cluster.id] = _Known(move.target, now, stage, now)
        if known.stage != stage:
            known.stage, known.stage_began = stage, now
        seen = reports.get(move.target)
        if seen is not None and seen.standby is not None and seen.standby.streaming:
            known.failing_since = None
        elif seen is not None and seen.failing and known.failing_since is None:
            known.failing_since = now
        # One that fails is tried again, and works while that lasts.
        is_failing = seen is not None and seen.failing and known.failing_since is not None
        return Times(
            waited=now - known.stage_began,
            lasted=now - known.began,
            failing=now - known.failing_since if is_failing and known.failing_since is not None else 0.0,
        )

    def forget(self, id: UUID) -> None:
        self._known.pop(id, None)

    def clear(self) -> None:
        self._known.clear()
