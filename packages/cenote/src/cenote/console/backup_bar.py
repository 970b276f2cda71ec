"""The moments that can be restored as a bar: pieces without a gap, and a mark for each backup.  Pure.

The bar begins with the oldest moment that can be restored and ends now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Self

from cenote.console import times
from cenote.console.svg import WIDTH

SHORTEST = timedelta(minutes=10)  # that the bar spans
NARROWEST = 2  # units of a piece or a gap, so that it is seen
MOST_DAYS = 40  # with more, no day has a line


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle of the bar, with its words; units of the viewBox."""

    x: int
    width: int
    words: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A backup on the bar."""

    x: int
    is_full: bool
    words: str


@dataclass(frozen=True, slots=True)
class BackupBar:
    """``days`` has the x of each midnight in UTC; ``begin`` and ``end`` are the ends of the axis."""

    begin: datetime
    end: datetime
    pieces: tuple[Piece, ...]
    gaps: tuple[Piece, ...]
    marks: tuple[Mark, ...]
    days: tuple[int, ...]

    @classmethod
    def of(cls, state: Mapping[str, Any], backups: Sequence[Mapping[str, Any]], now: datetime) -> Self:
        """Return the bar for what the API says of a cluster's backups, of which there has to be one."""
        spans = [(_moment(span["since"]), _moment(span["until"])) for span in state["restorable"]]
        made = [(_moment(backup["created_at"]), backup["cenote"]["type"]) for backup in backups]
        firsts = [since for since, _ in spans] + [at for at, _ in made]
        end = max([now, *(at for at, _ in made)])
        axis = _Axis(min([*firsts, end - SHORTEST]), end)
        return cls(
            axis.begin,
            axis.end,
            tuple(axis.piece(since, until) for since, until in spans),
            tuple(axis.piece(since, until) for since, until in _between(spans, state, axis.end)),
            tuple(Mark(axis.x(at), type == "full", times.clock(at.isoformat())) for at, type in made),
            tuple(axis.midnights()),
        )


class _Axis:
    def __init__(self, begin: datetime, end: datetime) -> None:
        self.begin, self.end = begin, end
        self._scale = WIDTH / max(1.0, (end - begin).total_seconds())

    def x(self, at: datetime) -> int:
        """Return where a moment stands."""
        return round(max(0.0, min(float(WIDTH), (at - self.begin).total_seconds() * self._scale)))

    def piece(self, since: datetime, until: datetime) -> Piece:
        x, end = self.x(since), self.x(until)
        width = max(NARROWEST, end - x)
        words = f"{times.clock(since.isoformat())} to {times.clock(until.isoformat())} UTC"
        return Piece(min(x, WIDTH - width), width, words)

    def midnights(self) -> list[int]:
        """Return where days begin, or none of very many."""
        first = self.begin.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        count = (self.end - first).days + 1
        days = range(count if count <= MOST_DAYS else 0)
        return [self.x(first + timedelta(days=day)) for day in days]


def _between(
    spans: Sequence[tuple[datetime, datetime]], state: Mapping[str, Any], end: datetime
) -> list[tuple[datetime, datetime]]:
    """Return the gaps: from the end of a piece to the next one, or to the end of the bar after the loss."""
    gaps = [(before[1], after[0]) for before, after in pairwise(spans)]
    if state["gap_at"] is not None and spans and spans[-1][1] <= _moment(state["gap_at"]):
        gaps.append((spans[-1][1], end))
    return gaps


def in_words(state: Mapping[str, Any]) -> str:
    """Return what the bar shows as a sentence; "" where nothing can be restored."""
    spans = state["restorable"]
    if not spans:
        return ""
    pieces = [f"from {times.clock(span['since'])} to {times.clock(span['until'])} UTC" for span in spans]
    return f"Any second {' and '.join(pieces)} can be restored."


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
