"""The last 15 minutes of a pool, condensed to the intervals of its charts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.console import svg
from cenote.console.pool_charts import COLUMNS, FEW_POINTS, MANY, POINTS, PoolSample, PoolTrail, points

INTERVAL = svg.SECONDS / POINTS
BEGIN = 1_800_000_000.0  # at which an interval begins
QUIET = PoolSample(size=5, active=3, waiting=0, busy=2, wait=0.0, rate=7.5)


def trail(*samples: tuple[float, PoolSample]) -> PoolTrail:
    made = PoolTrail(POINTS)
    for after, one in samples:
        made.add(BEGIN + after, one)
    return made


def test_begin_is_the_beginning_of_an_interval() -> None:
    assert BEGIN % INTERVAL == 0


def test_the_charts_of_a_quiet_pool_change_with_the_intervals_only() -> None:
    quiet = trail(*((second, QUIET) for second in range(0, 60, 2)))
    before = quiet.charts(5, BEGIN + 58)
    for second in (50.5, 55, 59.9):
        quiet.add(BEGIN + second, QUIET)
        assert quiet.charts(5, BEGIN + second) == before
    quiet.add(BEGIN + 60, QUIET)
    assert quiet.charts(5, BEGIN + 60) != before


def test_an_interval_has_the_maximum_of_what_waits_and_the_mean_of_the_rest() -> None:
    busy = PoolSample(size=5, active=9, waiting=4, busy=4, wait=2.0, rate=22.5)
    mixed = trail((0, QUIET), (2, busy))
    same = trail((0, PoolSample(size=5, active=6, waiting=4, busy=3, wait=2.0, rate=15)))
    assert mixed.charts(5, BEGIN + 2) == same.charts(5, BEGIN + 2)


def test_the_summary_has_the_maxima_of_single_samples() -> None:
    busy = PoolSample(size=5, active=9, waiting=4, busy=4, wait=2.0, rate=22.5)
    summary = trail((0, QUIET), (2, busy), (4, QUIET), (20, QUIET)).summary()
    assert summary is not None
    assert (summary.active, summary.waiting, summary.busy) == (9, 4, 4)
    assert (summary.wait, summary.rate) == (2.0, 22.5)


def test_what_is_older_than_15_minutes_is_forgotten() -> None:
    busy = replace(QUIET, waiting=4)
    old = trail((0, busy), (svg.SECONDS - INTERVAL, QUIET))
    assert old.summary() is not None
    assert old.charts(5, BEGIN + svg.SECONDS - INTERVAL).waiting
    old.add(BEGIN + svg.SECONDS + INTERVAL, QUIET)
    assert not old.charts(5, BEGIN + svg.SECONDS + INTERVAL).waiting
    summary = old.summary()
    assert summary is not None
    assert summary.waiting == 0


def test_without_samples_nothing_is_drawn() -> None:
    nothing = trail()
    charts = nothing.charts(5, BEGIN)
    assert (charts.active, charts.waiting, charts.busy, charts.size, charts.wait, charts.rate) == ("",) * 6
    assert nothing.summary() is None
    assert nothing.last is None


@given(numbers=st.lists(st.integers(0, 50), min_size=1, max_size=200))
def test_a_trail_of_the_history_is_the_trail_of_its_samples(numbers: list[int]) -> None:
    past: dict[str, Any] = {name: [float(number) for number in numbers] for name in COLUMNS}
    past["at"] = [BEGIN + 2 * index for index in range(len(numbers))]
    samples = [(2.0 * index, PoolSample(*[float(number)] * 6)) for index, number in enumerate(numbers)]
    now = past["at"][-1]
    assert PoolTrail.of_history(past, POINTS).charts(5, now) == trail(*samples).charts(5, now)


@pytest.mark.parametrize(("pools", "expected"), [(1, POINTS), (MANY, POINTS), (MANY + 1, FEW_POINTS)])
def test_charts_have_fewer_points_when_there_are_many(pools: int, expected: int) -> None:
    assert points(pools) == expected
