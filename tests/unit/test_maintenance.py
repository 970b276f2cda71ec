"""When the maintenance window is open."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.errors import Invalid
from cenote.model.records import MaintenanceWindow
from cenote.rules import maintenance

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)

TIMES: list[tuple[str, str, datetime, bool]] = [
    ("monday", "13:00", MONDAY + timedelta(hours=13), True),
    ("monday", "13:00", MONDAY + timedelta(hours=12, minutes=59, seconds=59), False),
    ("monday", "13:00:00", MONDAY + timedelta(hours=16, minutes=59, seconds=59), True),
    ("monday", "13:00", MONDAY + timedelta(hours=17), False),
    ("monday", "13:00", MONDAY + timedelta(days=1, hours=13), False),
    ("sunday", "23:30", MONDAY + timedelta(hours=3, minutes=29), True),
    ("sunday", "23:30", MONDAY + timedelta(hours=3, minutes=30), False),
    ("sunday", "22:00", MONDAY - timedelta(hours=1), True),
]


@pytest.mark.parametrize(("day", "hour", "now", "expected"), TIMES)
def test_the_window_is_open_for_four_hours_also_past_midnight(
    day: str, hour: str, now: datetime, expected: bool
) -> None:
    assert maintenance.is_open(maintenance.window(day, hour), now) is expected


@given(
    st.sampled_from(maintenance.DAYS),
    st.times(),
    st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2040, 1, 1), timezones=st.just(UTC)),
)
def test_the_window_is_open_four_hours_of_every_week(day: str, at: time, begin: datetime) -> None:
    window = maintenance.window(day, f"{at:%H:%M}")
    moments = [begin + timedelta(minutes=15 * number) for number in range(7 * 24 * 4)]
    assert sum(maintenance.is_open(window, moment) for moment in moments) == 16


def test_a_window_is_kept_as_it_was_sent() -> None:
    assert maintenance.window("Tuesday", "08:45:12") == MaintenanceWindow(day="tuesday", hour="08:45:12")


@pytest.mark.parametrize(
    ("day", "hour", "beginning"),
    [
        ("someday", "13:00", "day: 'someday' is not a day"),
        ("", "13:00", "day: '' is not a day"),
        ("monday", "24:00", "hour: '24:00' is not a time"),
        ("monday", "1:00", "hour: '1:00' is not a time"),
        ("monday", "13", "hour: '13' is not a time"),
        ("monday", "13:00\n", "hour: '13:00\\n' is not a time"),
    ],
)
def test_what_is_no_window_is_refused(day: str, hour: str, beginning: str) -> None:
    with pytest.raises(Invalid) as refusal:
        maintenance.window(day, hour)
    assert refusal.value.message.startswith(beginning)
