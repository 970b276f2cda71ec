"""Ids of events, by which they sort: the time in milliseconds, and something random."""

from __future__ import annotations

import contextlib
import secrets
from datetime import datetime

_LAST = 1 << 43  # milliseconds: the year 2248, which no clock says


def new_id(at: datetime, after: int = 0) -> str:
    """Return an id that sorts after those of earlier milliseconds, and after those of ``after``."""
    return f"{max(milliseconds(at), after + 1):012x}{secrets.token_hex(4)}"


class EventIds:
    """Hands out ids that never go backwards, even if the clock does."""

    def __init__(self) -> None:
        self._newest = 0

    def new(self, at: datetime) -> str:
        id = new_id(at, self._newest)
        self.saw(id)
        return id

    def saw(self, id: str) -> None:
        """Take notice of an id that somebody has given; not of one that none could follow."""
        with contextlib.suppress(ValueError):
            if (given := int(id[:12], 16)) < _LAST:
                self._newest = max(self._newest, given)


def milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
