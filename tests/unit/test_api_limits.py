from __future__ import annotations

from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from cenote.api.limits import HOUR, MINUTE, Limits

NOW = 1_800_000_000.0
TOKEN = uuid4()


def test_the_headers_count_down_to_the_hourly_limit() -> None:
    limits = Limits(per_hour=3, per_minute=0)
    seen = [limits.spend(TOKEN, NOW) for _ in range(3)]
    assert [spent.remaining for spent in seen if spent] == [2, 1, 0]
    assert all(spent is not None and spent.limit == 3 and spent.error is None for spent in seen)


def test_the_reset_is_when_the_oldest_request_stops_counting() -> None:
    limits = Limits(per_hour=10, per_minute=0)
    limits.spend(TOKEN, NOW)
    spent = limits.spend(TOKEN, NOW + 50)
    assert spent is not None
    assert spent.reset == int(NOW) + HOUR


def test_a_spent_hour_is_refused_without_a_time_to_come_back() -> None:
    limits = Limits(per_hour=1, per_minute=10)
    limits.spend(TOKEN, NOW)
    spent = limits.spend(TOKEN, NOW + 1)
    assert spent is not None
    assert spent.error is not None
    assert spent.error.retry_after is None
    assert spent.remaining == 0


def test_a_burst_is_refused_until_its_oldest_request_is_a_minute_old() -> None:
    limits = Limits(per_hour=100, per_minute=2)
    limits.spend(TOKEN, NOW)
    limits.spend(TOKEN, NOW + 10)
    spent = limits.spend(TOKEN, NOW + 20)
    assert spent is not None
    assert spent.error is not None
    assert spent.error.retry_after == MINUTE - 20
    again = limits.spend(TOKEN, NOW + MINUTE)
    assert again is not None
    assert again.error is None


def test_refused_requests_do_not_count() -> None:
    limits = Limits(per_hour=100, per_minute=1)
    limits.spend(TOKEN, NOW)
    for second in range(1, MINUTE):
        limits.spend(TOKEN, NOW + second)
    spent = limits.spend(TOKEN, NOW + MINUTE)
    assert spent is not None
    assert (spent.error, spent.remaining) == (None, 98)


def test_tokens_do_not_share_their_limits() -> None:
    limits = Limits(per_hour=1, per_minute=1)
    limits.spend(TOKEN, NOW)
    spent = limits.spend(uuid4(), NOW)
    assert spent is not None
    assert spent.error is None


def test_without_limits_nothing_is_counted() -> None:
    assert Limits(0, 0).spend(TOKEN, NOW) is None


@given(st.lists(st.integers(0, 5_000), max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_no_window_ever_holds_more_than_its_limit(gaps: list[int], per_hour: int, per_minute: int) -> None:
    limits = Limits(per_hour, per_minute)
    second, admitted = int(NOW), []
    for gap in gaps:
        second += gap % (HOUR if gap % 7 == 0 else 20)
        spent = limits.spend(TOKEN, float(second))
        assert spent is not None
        if spent.error is None:
            admitted.append(second)
        in_hour = [one for one in admitted if one > second - HOUR]
        in_minute = [one for one in admitted if one > second - MINUTE]
        assert len(in_hour) <= per_hour
        assert len(in_minute) <= per_minute
        assert spent.remaining == per_hour - len(in_hour)
        if spent.error is not None:
            assert len(in_hour) == per_hour or len(in_minute) == per_minute
