"""SVG paths of numbers over time."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from cenote.console.svg import GAP, HEIGHT, WIDTH, TimeAxis, area, steps, top_of

NOW, SECONDS = 1_800_000_000.0, 900.0
moments = st.lists(st.floats(0, 2 * SECONDS), min_size=1, max_size=40, unique=True).map(
    lambda ages: sorted(NOW - age for age in ages)
)


@given(most=st.floats(0, 1e9), least=st.floats(0.001, 100))
def test_the_upper_edge_is_a_round_number_just_above_all(most: float, least: float) -> None:
    top = top_of(most, least)
    assert top >= max(most, least) * (1 - 1e-6)
    assert top <= 2.5 * max(most, least) * (1 + 1e-6)
    assert f"{top:e}"[0] in "125"
    assert float(f"{top:.0e}") == top


def points(path: str) -> list[tuple[int, int]]:
    """Return where a path of closed pieces leads, as a browser reads it."""
    found = []
    for piece in re.findall(r"M[^M]+z", path):
        numbers = [int(number) for number in re.findall(r"-?\d+", piece)]
        x, y = 0, 0
        for right, down in zip(numbers[::2], numbers[1::2], strict=True):
            x, y = x + right, y + down
            found.append((x, y))
    return found


@given(at=moments, data=st.data())
def test_a_path_is_well_formed_and_stays_in_its_box(at: list[float], data: st.DataObject) -> None:
    values = data.draw(st.lists(st.floats(0, 50), min_size=len(at), max_size=len(at)))
    axis = TimeAxis(at, NOW, SECONDS)
    for path in (area(axis, values, 20), area(axis, values, 20, lower=[0.0] * len(at))):
        assert re.fullmatch(r"(M\d+ \d+l(-?\d+( -?|-)\d+( |(?=-)|(?=z)))+z)*", path)
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points(path))
    assert re.fullmatch(r"(M\d+ \d+(H\d+(V\d+)?)*)*", steps(axis, values, 20))


@given(values=st.lists(st.integers(0, 2), min_size=3, max_size=40))
def test_a_horizontal_line_has_no_points_between_its_ends(values: list[int]) -> None:
    at = [NOW - 10 * (len(values) - index) for index in range(len(values))]
    drawn = points(area(TimeAxis(at, NOW, SECONDS), values, 2))[:-2]
    heights = [y for _, y in drawn]
    middles = zip(heights, heights[1:], heights[2:], strict=False)
    assert not [middle for middle in middles if len(set(middle)) == 1]
    known = {
        round(WIDTH * (1 - (NOW - when) / SECONDS)): value for when, value in zip(at, values, strict=True)
    }
    for (left, height), (right, then) in itertools.pairwise(drawn):
        assert height == HEIGHT - HEIGHT // 2 * known[left]
        if height == then:
            assert {known[x] for x in known if left <= x <= right} == {known[left]}


def test_what_is_older_than_the_chart_is_not_drawn() -> None:
    assert area(TimeAxis([NOW - SECONDS - 1], NOW, SECONDS), [5], 10) == ""


def test_a_time_without_samples_is_a_gap() -> None:
    at = [NOW - 3 * GAP, NOW - 2.5 * GAP, NOW - GAP, NOW]
    assert area(TimeAxis(at, NOW, SECONDS), [1, 1, 1, 1], 10).count("M") == 2


def test_the_newest_is_at_the_right_and_the_maximum_at_the_top() -> None:
    assert points(area(TimeAxis([NOW - 60, NOW], NOW, SECONDS), [5, 10], 10)) == [
        (560, 50),
        (WIDTH, 0),
        (WIDTH, HEIGHT),
        (560, HEIGHT),
    ]


def test_a_size_that_is_changed_is_a_step() -> None:
    at = [NOW - 90, NOW - 60, NOW - 30, NOW]
    assert steps(TimeAxis(at, NOW, SECONDS), [2, 2, 8, 8], 10) == "M540 80H540V80H580V20H600"


def test_without_samples_nothing_is_drawn() -> None:
    nothing = TimeAxis([], NOW, SECONDS)
    assert area(nothing, [], 1) == steps(nothing, [], 1) == ""
