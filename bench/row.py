"""A row of the result table: samples of ours and of the floor, and the aims."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Missing(Exception):
    """A requirement of a part is missing; the message names it and the command that installs it."""


class Of(StrEnum):
    """The quantity that an aim bounds."""

    OURS = "ours"
    RATIO = "ratio"


@dataclass(frozen=True, slots=True)
class Aim:
    """A bound for a measured value, or for its ratio to the floor."""

    of: Of
    bound: float
    at_most: bool

    def met(self, ours: float, ratio: float | None) -> bool:
        value = ratio if self.of is Of.RATIO else ours
        if value is None:
            return False
        return value <= self.bound if self.at_most else value >= self.bound

    def text(self, unit: str) -> str:
        sign = "≤" if self.at_most else "≥"
        return f"{sign} {self.bound:g}{' ×' if self.of is Of.RATIO else f' {unit}'}"


def ours_at_most(bound: float) -> Aim:
    return Aim(Of.OURS, bound, at_most=True)


def ratio_at_most(bound: float) -> Aim:
    return Aim(Of.RATIO, bound, at_most=True)


def ratio_at_least(bound: float) -> Aim:
    return Aim(Of.RATIO, bound, at_most=False)


@dataclass(frozen=True, slots=True)
class Row:
    """All samples of one measurement, in ``unit``.

    ``ours[n]`` and ``floor[n]`` were measured right after each other; a row may have no floor.
    """

    name: str
    unit: str
    ours: Sequence[float]
    floor: Sequence[float] = ()
    aims: tuple[Aim, ...] = ()

    @property
    def ratio(self) -> float | None:
        """The median of the ratios of pairs, in which temporary load on the machine cancels out."""
        if not self.floor:
            return None
        return statistics.median(ours / floor for ours, floor in zip(self.ours, self.floor, strict=True))

    @property
    def difference(self) -> float | None:
        """The median of the differences of pairs."""
        if not self.floor:
            return None
        return statistics.median(ours - floor for ours, floor in zip(self.ours, self.floor, strict=True))

    @property
    def aim(self) -> str:
        return ", ".join(aim.text(self.unit) for aim in self.aims)

    @property
    def met(self) -> bool | None:
        """Return whether all aims are met; None without aims."""
        if not self.aims:
            return None
        return all(aim.met(statistics.median(self.ours), self.ratio) for aim in self.aims)

    def record(self) -> dict[str, Any]:
        """Return the row for the JSON file: medians, minima and maxima."""
        return {
            "name": self.name,
            "ours": statistics.median(self.ours),
            "floor": statistics.median(self.floor) if self.floor else None,
            "ratio": self.ratio,
            "difference": self.difference,
            "unit": self.unit,
            "aim": self.aim,
            "met": self.met,
            "ours_spread": [min(self.ours), max(self.ours)],
            "floor_spread": [min(self.floor), max(self.floor)] if self.floor else None,
            "runs": len(self.ours),
        }


HEADINGS = ("what", "ours", "floor", "ratio", "unit", "aim", "met")


def table(rows: Sequence[Row]) -> str:
    """Format the rows as a text table; each value is a median, followed by minimum and maximum."""
    lines = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def write(rows: Sequence[Row], path: Path) -> None:
    """Write the rows to a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.record() for row in rows], indent=2, ensure_ascii=False) + "\n")


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        _measured(row.ours),
        _measured(row.floor) if row.floor else "–",
        "–" if row.ratio is None else f"{row.ratio:.2f}",
        row.unit,
        row.aim or "–",
        {True: "yes", False: "NO", None: "–"}[row.met],
    )


def _measured(samples: Sequence[float]) -> str:
    median = number(statistics.median(samples))
    return median if len(samples) == 1 else f"{median} ({number(min(samples))}–{number(max(samples))})"


def number(value: float) -> str:
    """Format with three significant digits, and large numbers as integers."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
