"""The clock by which what is old is removed: it follows jumps forward late, and is never ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cenote.store.settled_clock import SettledClock

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class Clocks:
    """Two clocks, the first of which may be set."""

    def __init__(self) -> None:
        self.clock, self.monotonic = NOW.timestamp(), 1000.0

    def __call__(self) -> tuple[float, float]:
        return self.clock, self.monotonic

    def go_on(self, by: timedelta) -> None:
        self.clock += by.total_seconds()
        self.monotonic += by.total_seconds()

    def set(self, by: timedelta) -> None:
        self.clock += by.total_seconds()


def test_it_runs_with_the_clock_and_follows_small_corrections() -> None:
    clocks = Clocks()
    settled = SettledClock(clocks)
    settled.begin(NOW - timedelta(hours=1))
    for step in (timedelta(0), timedelta(hours=1), -timedelta(hours=1), DAY):
        clocks.set(step)
        assert settled.now() == datetime.fromtimestamp(clocks.clock, UTC)


def test_a_jump_forward_is_believed_when_it_has_lasted_a_day() -> None:
    clocks = Clocks()
    settled = SettledClock(clocks)
    settled.begin(None)
    clocks.set(400 * DAY)
    assert settled.now() == NOW
    clocks.go_on(0.9 * DAY)
    assert settled.now() == NOW + 0.9 * DAY
    clocks.go_on(0.2 * DAY)
    assert settled.now() == NOW + 401.1 * DAY


def test_a_jump_that_is_put_right_is_never_believed() -> None:
    clocks = Clocks()
    settled = SettledClock(clocks)
    settled.begin(None)
    for _ in range(5):
        clocks.set(400 * DAY)
        assert settled.now() < NOW + 20 * DAY
        clocks.go_on(0.9 * DAY)
        assert settled.now() < NOW + 20 * DAY
        clocks.set(-400 * DAY)
        assert settled.now() == datetime.fromtimestamp(clocks.clock, UTC)


def test_a_start_with_a_clock_far_ahead_of_the_records_goes_on_from_these() -> None:
    clocks = Clocks()
    settled = SettledClock(clocks)
    settled.begin(NOW - 400 * DAY)
    assert settled.now() == NOW - 400 * DAY


def test_it_is_never_ahead_of_a_clock_that_was_set_back() -> None:
    clocks = Clocks()
    settled = SettledClock(clocks)
    settled.begin(None)
    clocks.set(-400 * DAY)
    assert settled.now() == NOW - 400 * DAY
