"""For how long a source's changes are not here yet."""

from __future__ import annotations

import pytest

from cenote.rules.migration_lag import LagClock, SlotPosition


def test_nothing_is_known_before_the_first_sample() -> None:
    assert LagClock().seconds(5.0) is None


def test_one_that_has_all_does_not_lag() -> None:
    clock = LagClock()
    for now in (1.0, 2.0, 3.0):
        clock.take(SlotPosition(100, 100), now)
        assert clock.seconds(now) == 0
    assert SlotPosition(100, 120).behind == 0


def test_the_lag_is_the_time_since_the_source_had_no_more_than_is_here() -> None:
    clock = LagClock()
    for now in range(10):
        clock.take(SlotPosition(100 * now, 100 * max(0, now - 3)), float(now))
    assert clock.seconds(9.0) == 3


def test_a_source_that_is_not_reached_lets_it_grow_until_what_was_written_meanwhile_is_here() -> None:
    clock = LagClock()
    clock.take(SlotPosition(100, 100), 1.0)
    assert clock.seconds(61.0) == 60
    clock.take(SlotPosition(500, 300), 61.0)
    assert clock.seconds(61.0) == 60
    clock.take(SlotPosition(500, 500), 62.0)
    assert clock.seconds(62.0) == 0


def test_what_a_slot_has_passed_on_may_be_unknown() -> None:
    clock = LagClock()
    clock.take(SlotPosition(100, None), 1.0)
    assert SlotPosition(100, None).behind is None
    assert clock.seconds(4.0) == 3


def test_many_samples_are_thinned_and_still_tell_the_lag() -> None:
    clock = LagClock()
    for now in range(10_000):
        clock.take(SlotPosition(now, 0), float(now))
    assert len(clock._samples) <= 3600
    clock.take(SlotPosition(10_000, 5_000), 10_000.0)
    assert clock.seconds(10_000.0) == pytest.approx(5_000, abs=10)
