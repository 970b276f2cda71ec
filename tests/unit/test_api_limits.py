from __future__ import annotations

import tracemalloc
from uuid import UUID, uuid4

from cenote.api.limits import HOUR, MINUTE, Limits, RateLimitStatus

NOW = 1_800_000_000.0
TOKEN = uuid4()


def spend(limits: Limits, now: float, token: UUID) -> RateLimitStatus | None:
    """Spend a request at a time of the clock, which runs like the monotonic one."""
    return limits.spend(token, now - 1_700_000_000, now)


def test_the_headers_count_down_to_the_hourly_limit() -> None:
    limits = Limits(per_hour=3, per_minute=0)
    seen = [spend(limits, NOW, TOKEN) for _ in range(3)]
    assert [spent.remaining for spent in seen if spent] == [2, 1, 0]
    assert all(spent is not None and spent.limit == 3 and spent.error is None for spent in seen)


def test_the_reset_is_when_the_oldest_request_stops_counting() -> None:
    limits = Limits(per_hour=10, per_minute=0)
    spend(limits, NOW, TOKEN)
    spent = spend(limits, NOW + 50, TOKEN)
    assert spent is not None
    assert spent.reset == int(NOW) + HOUR


def test_a_spent_hour_is_refused_without_a_time_to_come_back() -> None:
    limits = Limits(per_hour=1, per_minute=10)
    spend(limits, NOW, TOKEN)
    spent = spend(limits, NOW + 1, TOKEN)
    assert spent is not None
    assert spent.error is not None
    assert spent.error.retry_after is None
    assert spent.remaining == 0


def test_a_burst_is_refused_until_its_oldest_request_is_a_minute_old() -> None:
    limits = Limits(per_hour=100, per_minute=2)
    spend(limits, NOW, TOKEN)
    spend(limits, NOW + 10, TOKEN)
    spent = spend(limits, NOW + 20, TOKEN)
    assert spent is not None
    assert spent.error is not None
    assert spent.error.retry_after == MINUTE - 20
    again = spend(limits, NOW + MINUTE, TOKEN)
    assert again is not None
    assert again.error is None


def test_refused_requests_do_not_count() -> None:
    limits = Limits(per_hour=100, per_minute=1)
    spend(limits, NOW, TOKEN)
    for second in range(1, MINUTE - 2):
        spent = spend(limits, NOW + second, uuid4() if second % 2 else TOKEN)
        assert spent is not None
    spent = spend(limits, NOW + MINUTE, TOKEN)
    assert spent is not None
    assert (spent.error, spent.remaining) == (None, 98)


def test_tokens_do_not_share_their_limits() -> None:
    limits = Limits(per_hour=1, per_minute=1)
    spend(limits, NOW, TOKEN)
    spent = spend(limits, NOW, uuid4())
    assert spent is not None
    assert spent.error is None


def test_without_limits_nothing_is_counted() -> None:
    assert Limits(0, 0).spend(TOKEN, NOW, NOW) is None


def test_a_clock_that_is_set_back_or_forward_changes_what_is_shown_only() -> None:
    limits = Limits(per_hour=100, per_minute=2)
    for after, clock in ((0, NOW), (30, NOW - 3600), (61, NOW - 3570), (91, NOW + 400 * 86400), (122, NOW)):
        spent = limits.spend(TOKEN, 1000 + after, clock)
        assert spent is not None
        assert spent.error is None, after
        assert spent.reset == int(clock) + HOUR - after


def test_a_token_that_is_used_each_second_takes_little_memory_and_its_limit_holds() -> None:
    limits = Limits(per_hour=5_000, per_minute=0)
    tracemalloc.start()
    try:
        for second in range(3 * HOUR):
            spent = limits.spend(TOKEN, second, NOW)
            assert spent is not None
            exact = 5_000 - min(second + 1, HOUR)
            assert exact - HOUR // 60 <= spent.remaining <= exact
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 64 * 1024


def test_a_token_that_was_not_used_for_an_hour_takes_no_memory() -> None:
    limits = Limits(per_hour=10, per_minute=10)
    for second in range(100):
        limits.spend(uuid4(), second, NOW)
    limits.spend(TOKEN, HOUR, NOW)
    assert len(limits) == 100  # the first one's request is an hour old
    limits.spend(TOKEN, HOUR + 200, NOW)
    assert len(limits) == 1
    limits.spend(TOKEN, 9 * HOUR, NOW)
    assert len(limits) == 1
