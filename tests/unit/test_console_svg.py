"""From numbers over time to the paths of a picture."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from cenote.console.svg import GAP, HEIGHT, SECONDS, WIDTH, area, line, steps, top_of

NOW = 1_800_000_000.0
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


@given(at=moments, data=st.data())
def test_a_path_is_well_formed_and_stays_in_its_box(at: list[float], data: st.DataObject) -> None:
    values = data.draw(st.lists(st.floats(0, 50), min_size=len(at), max_size=len(at)))
    drawn = (
        area(at, values, 20, NOW),
        line(at, values, 20, NOW),
        area(at, values, 20, NOW, lower=[0.0] * len(at)),
    )
    for path in drawn:
        assert re.fullmatch(r"(M\d+ \d+(L\d+ \d+)*Z?)*", path)
        numbers = [int(number) for number in re.findall(r"\d+", path)]
        assert all(number <= WIDTH for number in numbers[::2])
        assert all(number <= HEIGHT for number in numbers[1::2])
    assert re.fullmatch(r"(M\d+ \d+(H\d+(V\d+)?)*)*", steps(at, values, 20, NOW))


def test_what_is_older_than_the_picture_is_not_drawn() -> None:
    assert line([NOW - SECONDS - 1], [5], 10, NOW) == ""


def test_a_time_of_which_nothing_is_known_is_a_gap() -> None:
    at = [NOW - 3 * GAP, NOW - 2.5 * GAP, NOW - GAP, NOW]
    assert line(at, [1, 1, 1, 1], 10, NOW).count("M") == 2


def test_the_newest_is_at_the_right_and_the_most_at_the_top() -> None:
    assert line([NOW - SECONDS / 2, NOW], [0, 10], 10, NOW) == f"M{WIDTH // 2} {HEIGHT}M{WIDTH} 0"
    assert area([NOW - 60, NOW], [5, 10], 10, NOW) == f"M560 50L{WIDTH} 0L{WIDTH} {HEIGHT}L560 {HEIGHT}Z"


def test_a_size_that_is_changed_is_a_step() -> None:
    at = [NOW - 90, NOW - 60, NOW - 30, NOW]
    assert steps(at, [2, 2, 8, 8], 10, NOW) == "M540 80H540V80H580V20H600"


def test_nothing_known_is_nothing_drawn() -> None:
    assert area([], [], 1, NOW) == line([], [], 1, NOW) == steps([], [], 1, NOW) == ""
