"""The text that Prometheus reads: whatever stands in it comes back as it was."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from cenote.metrics.text import Family, Kind, Page
from cenote.stats.counters import Histogram

SOME = Family("cenote_some", Kind.GAUGE, "Some number.")
# No database has a name with NUL in it, and no text has half of a character in UTF-8.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
AWKWARD = st.text(alphabet='ab\\"\n{},=# \r\t')


def read(page: Page) -> dict[str, list[tuple[str, dict[str, str], float]]]:
    """Return the samples of each family, as the official client reads them."""
    families = text_string_to_metric_families(page.render().decode())
    return {
        family.name: [(sample.name, sample.labels, sample.value) for sample in family.samples]
        for family in families
    }


@given(TEXT | AWKWARD)
@example("\\n")
@example('"}')
@example("a\nb")
def test_any_label_comes_back_as_it_was(text: str) -> None:
    page = Page(cluster=text)
    page.add(SOME, 1, database=text)
    assert read(page) == {"cenote_some": [("cenote_some", {"cluster": text, "database": text}, 1.0)]}


@given(TEXT | AWKWARD)
def test_any_help_stays_on_its_line(text: str) -> None:
    page = Page()
    page.add(Family("cenote_some", Kind.GAUGE, text), 1)
    assert read(page) == {"cenote_some": [("cenote_some", {}, 1.0)]}


@given(st.floats() | st.integers(-(2**53), 2**53) | st.booleans())
def test_any_number_comes_back_as_it_was(value: float) -> None:
    page = Page()
    page.add(SOME, value)
    [(_, _, found)] = read(page)["cenote_some"]
    assert found == value or (math.isnan(found) and math.isnan(value))


def test_what_is_not_known_is_left_out() -> None:
    page = Page()
    page.add(SOME, None)
    assert page.render() == b""


def test_samples_of_a_family_stand_together_however_they_come() -> None:
    page, other = Page(), Family("cenote_other_total", Kind.COUNTER, "Other.")
    for number in range(2):
        page.add(SOME, number, which=str(number))
        page.add(other, number, which=str(number))
    assert page.render().decode().splitlines() == [
        "# HELP cenote_some Some number.",
        "# TYPE cenote_some gauge",
        'cenote_some{which="0"} 0',
        'cenote_some{which="1"} 1',
        "# HELP cenote_other_total Other.",
        "# TYPE cenote_other_total counter",
        'cenote_other_total{which="0"} 0',
        'cenote_other_total{which="1"} 1',
    ]


@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_what_is_below_each_bound(seconds: list[float]) -> None:
    histogram, page = Histogram((0.1, 1.0)), Page()
    for one in seconds:
        histogram.add(one)
    page.add_histogram(Family("cenote_some_seconds", Kind.HISTOGRAM, "Some."), histogram, path="/")
    found = {(name, labels.get("le")): value for name, labels, value in read(page)["cenote_some_seconds"]}
    for bound, text in ((0.1, "0.1"), (1.0, "1.0"), (math.inf, "+Inf")):
        assert found["cenote_some_seconds_bucket", text] == sum(one <= bound for one in seconds)
    assert found["cenote_some_seconds_count", None] == len(seconds)
    assert found["cenote_some_seconds_sum", None] == pytest.approx(sum(seconds))
