"""What a battery has found, as a line of the table and a record of ``build/faults.json``."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Outcome:
    """``times`` faults, the seconds that each took to be over, and what was lost or left over, in words.

    ``answer``: until the next answer of the API.  ``change``: until the next change was carried out.
    Of a drain these are how long the clients of each cluster were held, and how long all of it took.
    ``answered``, ``torn``: how many requests got an answer, and how many got none.  ``figures`` are others,
    by what they are of.
    """

    name: str
    times: int = 0
    answered: int = 0
    torn: int = 0
    answer: list[float] = field(default_factory=list)
    change: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        return not self.lost and not self.orphans

    def cells(self) -> tuple[str, ...]:
        spreads = (_spread(self.answer), _spread(self.change))
        counts = (self.answered, self.torn, len(self.lost), len(self.orphans))
        return (self.name, f"{self.times:,}", *spreads, *(f"{count:,}" for count in counts))


HEADINGS = ("what", "N", "next answer, worst", "next change, worst", "answered", "torn", "lost", "orphans")


def table(outcomes: Sequence[Outcome]) -> str:
    """Format the outcomes; times are the median and the longest, in seconds."""
    lines = [HEADINGS, *(outcome.cells() for outcome in outcomes)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def write(outcomes: Sequence[Outcome], seed: str, path: Path) -> None:
    """Write all of it to a JSON file, with the seed that repeats it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {"seed": seed, "outcomes": [asdict(outcome) for outcome in outcomes]}
    path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def _spread(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.3f}, {max(seconds):.3f}" if seconds else "–"
