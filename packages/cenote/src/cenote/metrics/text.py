"""Prometheus' text format, version 0.0.4: families of samples, each with its help and its type.

https://prometheus.io/docs/instrumenting/exposition_formats
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cenote.stats.counters import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_IN_VALUE = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_IN_HELP = str.maketrans({"\\": "\\\\", "\n": "\\n"})


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name, its kind, and one sentence for whoever reads a dashboard."""

    name: str
    kind: Kind
    help: str


class Page:
    """The samples of one scrape.  ``labels`` stand on each of them, before its own."""

    def __init__(self, **labels: str) -> None:
        self._labels = labels
        self._lines: dict[Family, list[str]] = {}

    def add(self, family: Family, value: float | None, **labels: str) -> None:
        """Add a sample; one of which nothing is known is left out."""
        if value is not None:
            self._add(family, "", labels, value)

    def add_histogram(self, family: Family, histogram: Histogram, **labels: str) -> None:
        total = 0
        for bound, count in zip((*histogram.bounds, math.inf), histogram.counts, strict=True):
            total += count
            self._add(family, "_bucket", {**labels, "le": _number(bound)}, total)
        self._add(family, "_sum", labels, histogram.sum)
        self._add(family, "_count", labels, total)

    def render(self) -> bytes:
        """Return the text; half of a character, which no UTF-8 can hold, becomes a question mark."""
        parts: list[str] = []
        for family, lines in self._lines.items():
            parts.append(f"# HELP {family.name} {family.help.translate(_IN_HELP)}\n")
            parts.append(f"# TYPE {family.name} {family.kind}\n")
            parts += lines
        return "".join(parts).encode("utf-8", "replace")

    def _add(self, family: Family, suffix: str, labels: Mapping[str, str], value: float) -> None:
        shown = ",".join(
            f'{name}="{text.translate(_IN_VALUE)}"' for name, text in {**self._labels, **labels}.items()
        )
        line = f"{family.name}{suffix}{{{shown}}} {_number(value)}\n"
        self._lines.setdefault(family, []).append(line)


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(int(value))  # of a truth value, too
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)
