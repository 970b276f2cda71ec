"""Metric families, and their exposition in Prometheus' text format by prometheus_client.

Values are read at each scrape.  They are counted in ``stats.counters``: prometheus_client's counter and
histogram lock and look up labels, and take several times as long, which one event loop does not need.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from cenote.stats.counters import Histogram

if TYPE_CHECKING:
    from prometheus_client import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, eq=False)  # hashed by identity, since that is done for every sample
class Family:
    """A metric: its name, its type, its help, and the names of its labels."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


class Page:
    """The samples of one scrape, as a collector of prometheus_client; ``labels`` are added to each sample."""

    def __init__(self, **labels: str) -> None:
        self._labels = labels
        self._samples: dict[Family, list[tuple[Any, ...]]] = {}

    def add(self, family: Family, value: float | None, **labels: str) -> None:
        """Add a sample; an unknown value (None) is left out."""
        if value is not None:
            self._add(family, labels, value)

    def add_histogram(self, family: Family, histogram: Histogram, **labels: str) -> None:
        bounds = (*map(str, histogram.bounds), "+Inf")
        buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
        self._add(family, labels, buckets, histogram.sum)

    def join(self, other: Page) -> None:
        """Take in the samples of a page whose own labels have the same names."""
        for family, samples in other._samples.items():
            self._samples.setdefault(family, []).extend(samples)

    def collect(self) -> Iterator[Metric]:
        # Imported by the first scrape, since it would make the start of the service 20 ms longer.
        from prometheus_client import core

        types: dict[Kind, Any] = {
            Kind.COUNTER: core.CounterMetricFamily,
            Kind.GAUGE: core.GaugeMetricFamily,
            Kind.HISTOGRAM: core.HistogramMetricFamily,
        }
        for family, samples in self._samples.items():
            metric = types[family.kind](family.name, family.help, labels=(*self._labels, *family.labels))
            for sample in samples:
                metric.add_metric(*sample)
            yield metric

    def render(self) -> bytes:
        from prometheus_client import generate_latest

        return generate_latest(self)

    def _add(self, family: Family, labels: dict[str, str], *sample: Any) -> None:
        """Add a sample; ValueError or KeyError for labels other than those that the family declares."""
        if len(labels) != len(family.labels):
            raise ValueError(f"{family.name} has the labels {family.labels}, not {tuple(labels)}")
        values = [*self._labels.values(), *map(labels.__getitem__, family.labels)]
        encodable = [value if value.isascii() else _encodable(value) for value in values]
        self._samples.setdefault(family, []).append((encodable, *sample))


def _encodable(text: str) -> str:
    """Return a text with its lone surrogates, which UTF-8 cannot encode, replaced by question marks."""
    return text.encode("utf-8", "replace").decode()
