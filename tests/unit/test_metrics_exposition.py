"""The page that Prometheus reads: labels, help texts and values survive the official parser."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from cenote.metrics.exposition import Family, Kind, Page
from cenote.stats.counters import BOUNDS, Histogram

PLAIN = Family("cenote_plain", Kind.GAUGE, "Some number.")
LABELED = Family("cenote_labeled", Kind.GAUGE, "Some number.", ("database",))
COUNTER = Family("cenote_counted_total", Kind.COUNTER, "Some count.", ("database",))
SECONDS = Family("cenote_some_seconds", Kind.HISTOGRAM, "Some durations.", ("path",))
# No database name contains NUL.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
AWKWARD = st.text(alphabet='ab\\"\n{},=# \r\t')


def parsed(page: Page) -> dict[str, list[tuple[str, dict[str, str], float]]]:
    """Return the samples of each family, as the official client parses them."""
    families = text_string_to_metric_families(page.render().decode())
    return {
        family.name: [(sample.name, sample.labels, sample.value) for sample in family.samples]
        for family in families
    }


@given(TEXT | AWKWARD)
@example("\\n")
@example('"}')
@example("a\nb")
def test_any_label_value_is_parsed_as_it_was(text: str) -> None:
    page = Page(cluster=text)
    page.add(LABELED, 1, database=text)
    assert parsed(page) == {"cenote_labeled": [("cenote_labeled", {"cluster": text, "database": text}, 1.0)]}


def test_a_label_value_that_utf_8_cannot_encode_has_question_marks() -> None:
    page = Page()
    page.add(LABELED, 1, database="é\udcff")
    assert parsed(page) == {"cenote_labeled": [("cenote_labeled", {"database": "é?"}, 1.0)]}


@given(TEXT | AWKWARD)
def test_any_help_stays_on_its_line(text: str) -> None:
    page = Page()
    page.add(Family("cenote_plain", Kind.GAUGE, text), 1)
    assert parsed(page) == {"cenote_plain": [("cenote_plain", {}, 1.0)]}


@given(st.floats() | st.integers(-(2**53), 2**53) | st.booleans())
def test_any_value_is_parsed_as_it_was(value: float) -> None:
    page = Page()
    page.add(PLAIN, value)
    [(_, _, found)] = parsed(page)["cenote_plain"]
    assert found == value or (math.isnan(found) and math.isnan(value))


def test_an_unknown_value_is_left_out() -> None:
    page = Page()
    page.add(PLAIN, None)
    assert page.render() == b""


def test_a_label_that_is_not_declared_is_refused() -> None:
    with pytest.raises(ValueError, match="cenote_plain"):
        Page().add(PLAIN, 1, database="a")
    with pytest.raises(ValueError, match="cenote_labeled"):
        Page().add(LABELED, 1)
    with pytest.raises(KeyError):
        Page().add(LABELED, 1, pool="a")


def test_the_samples_of_a_family_stand_together_in_whatever_order_they_are_added() -> None:
    page = Page()
    for number in range(2):
        page.add(LABELED, number, database=str(number))
        page.add(COUNTER, number, database=str(number))
    assert page.render().decode().splitlines() == [
        "# HELP cenote_labeled Some number.",
        "# TYPE cenote_labeled gauge",
        'cenote_labeled{database="0"} 0.0',
        'cenote_labeled{database="1"} 1.0',
        "# HELP cenote_counted_total Some count.",
        "# TYPE cenote_counted_total counter",
        'cenote_counted_total{database="0"} 0.0',
        'cenote_counted_total{database="1"} 1.0',
    ]


@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_what_is_at_or_below_each_bound(seconds: list[float]) -> None:
    histogram, page = Histogram((0.1, 1.0)), Page()
    for one in seconds:
        histogram.add(one)
    page.add_histogram(SECONDS, histogram, path="/")
    found = {(name, labels.get("le")): value for name, labels, value in parsed(page)["cenote_some_seconds"]}
    for bound, text in ((0.1, "0.1"), (1.0, "1.0"), (math.inf, "+Inf")):
        assert found["cenote_some_seconds_bucket", text] == sum(one <= bound for one in seconds)
    assert found["cenote_some_seconds_count", None] == len(seconds)
    assert found["cenote_some_seconds_sum", None] == pytest.approx(sum(seconds))


def test_the_bounds_of_histograms_keep_their_text() -> None:
    page = Page()
    page.add_histogram(SECONDS, Histogram(), path="/")
    bounds = [labels["le"] for _, labels, _ in parsed(page)["cenote_some_seconds"] if "le" in labels]
    assert [float(bound) for bound in bounds] == [*BOUNDS, math.inf]
    assert bounds[:3] == ["0.0005", "0.001", "0.0025"]
    assert bounds[-3:] == ["5.0", "10.0", "+Inf"]


def test_a_page_is_a_snapshot() -> None:
    histogram, page = Histogram(), Page()
    page.add_histogram(SECONDS, histogram, path="/")
    histogram.add(1.0)
    found = {name: value for name, _, value in parsed(page)["cenote_some_seconds"]}
    assert found["cenote_some_seconds_count"] == 0
    assert found["cenote_some_seconds_sum"] == 0


def test_nothing_is_registered_in_the_global_registry() -> None:
    page = Page()
    page.add(PLAIN, 1)
    page.render()
    assert not [metric.name for metric in REGISTRY.collect() if metric.name.startswith("cenote_")]


def test_declaring_metrics_does_not_import_prometheus_client() -> None:
    code = (
        "import sys, cenote.metrics.cluster_metrics, cenote.metrics.service_metrics;"
        "sys.exit('prometheus_client' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
