"""The last 15 minutes of a pool, condensed to the intervals of its charts."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import astuple, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.console import svg
from cenote.console.pool_charts import (
    COLUMNS,
    FEW_POINTS,
    MANY,
    POINTS,
    RANGES,
    PoolSample,
    PoolTrail,
    points,
)
from cenote.stats.history import downsample

SECONDS = 900.0  # of the default range
INTERVAL = SECONDS / POINTS
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
    quiet = trail(*((second, QUIET) for second in range(0, int(SECONDS) + 60, 2)))
    now = BEGIN + SECONDS
    before = quiet.charts(5, now + 58)
    for second in (58.5, 59, 59.9):
        quiet.add(now + second, QUIET)
        assert quiet.charts(5, now + second) == before
    quiet.add(now + 60, QUIET)
    assert quiet.charts(5, now + 60) != before


def pieces(path: str) -> list[tuple[int, int]]:
    """Return where each uninterrupted piece of an area begins and ends on the x axis."""
    found = []
    for piece in path.split("M")[1:]:
        numbers = [int(number) for number in re.findall(r"-?\d+", piece)]
        steps = list(itertools.accumulate(numbers[0::2]))
        found.append((min(steps), max(steps)))
    return found


def past_of(times: Iterable[float], one: PoolSample = QUIET) -> dict[str, list[float]]:
    at = list(times)
    return {"at": at, **{name: [value] * len(at) for name, value in zip(COLUMNS, astuple(one), strict=True)}}


@pytest.mark.parametrize("minutes", RANGES)
@pytest.mark.parametrize("few", [POINTS, FEW_POINTS])
@pytest.mark.parametrize("age", [30, 120, 899])
def test_a_young_pool_is_drawn_over_the_whole_width(minutes: int, few: int, age: int) -> None:
    young = PoolTrail.of_history(past_of(BEGIN + second for second in range(0, age, 2)), few, minutes)
    charts = young.charts(5, BEGIN + age)
    [(left, right)] = pieces(charts.active)
    assert left == 0
    interval = charts.span if age < 60 and few == FEW_POINTS else 2 * max(age / few, 3)
    assert right >= svg.WIDTH * (1 - 2 * interval / charts.span)
    assert charts.span == pytest.approx(age, abs=2 * max(age / few, 10))
    assert charts.begin == pytest.approx(BEGIN, abs=2 * max(age / few, 10))


@pytest.mark.parametrize("few", [POINTS, FEW_POINTS])
@pytest.mark.parametrize(("minutes", "known"), [(60, 20), (60, 60), (1440, 60), (1440, 300), (1440, 1440)])
def test_minutes_and_the_samples_after_them_are_one_line(few: int, minutes: int, known: int) -> None:
    at = [BEGIN - 60.0 * number for number in range(known, 0, -1)]
    older = dict(zip(("at", *COLUMNS), ([*at], *([2.0] * known for _ in COLUMNS)), strict=True))
    times, columns = downsample(older.pop("at"), older, 2 * few)
    recent = past_of(BEGIN - second for second in range(890, 0, -2))
    past = PoolTrail.of_history(recent, few, minutes, {"at": times, **columns})
    charts = past.charts(5, BEGIN)
    assert len(pieces(charts.active)) == 1
    assert charts.span == pytest.approx(60 * known, rel=0.2)
    assert len(past._intervals) <= few + 1


@pytest.mark.parametrize(("minutes", "away"), [(15, 3), (60, 4), (1440, 40)])
def test_minutes_without_a_sample_are_a_gap_in_every_range(minutes: int, away: int) -> None:
    known = [number for number in range(minutes, 0, -1) if not minutes / 2 <= number <= minutes / 2 + away]
    trail = PoolTrail(POINTS, minutes)
    for number in known:
        for second in (0, 15, 30, 45):
            trail.add(BEGIN - 60.0 * number + second, QUIET)
    assert len(pieces(trail.charts(5, BEGIN).active)) == 2


@given(numbers=st.lists(st.integers(0, 50), min_size=1, max_size=200), minutes=st.sampled_from(list(RANGES)))
def test_longer_intervals_lose_no_maximum(numbers: list[int], minutes: int) -> None:
    grown = PoolTrail(FEW_POINTS, minutes)
    for index, number in enumerate(numbers):
        grown.add(BEGIN + 4 * index, PoolSample(*[float(number)] * 6))
    summary = grown.summary()
    assert summary is not None
    assert summary.waiting == summary.active == summary.rate == max(numbers)
    assert len(grown._intervals) <= FEW_POINTS + 1
    means = sum(one.active * one.samples for one in grown._intervals) / len(numbers)
    assert means == pytest.approx(sum(numbers) / len(numbers))


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
    old = trail((0, busy), (SECONDS - INTERVAL, QUIET))
    assert old.summary() is not None
    assert old.charts(5, BEGIN + SECONDS - INTERVAL).waiting
    old.add(BEGIN + SECONDS + INTERVAL, QUIET)
    assert not old.charts(5, BEGIN + SECONDS + INTERVAL).waiting
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
