"""Requests above a rate limit: those that are held for a slot, and those that are told when to come back."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.api.limits import GRACE_SECONDS, HOLD_SECONDS, HOUR, MINUTE, Limits, RateLimitStatus

START = 10_000.0
CLOCK = 1_800_000_000.0
TOKEN = uuid4()


def spend(limits: Limits, now: float, key: bytes = b"") -> RateLimitStatus:
    spent = limits.spend(TOKEN, now, CLOCK + now, lambda: key)
    assert spent is not None
    return spent


def fill(limits: Limits, now: float, requests: int) -> None:
    for _ in range(requests):
        spent = spend(limits, now)
        assert (spent.error, spent.slot) == (None, None)


def told(spent: RateLimitStatus) -> int:
    assert spent.error is not None
    assert spent.error.retry_after is not None
    return spent.error.retry_after


def test_a_request_that_fits_within_two_seconds_is_held_and_no_other() -> None:
    limits = Limits(per_hour=0, per_minute=2)
    fill(limits, START, 1)
    fill(limits, START + 1, 1)
    assert told(spend(limits, START + 57.9, b"early")) == 3
    held = spend(limits, START + 59.5)  # behind the one that was told to come back
    assert held.error is None
    assert held.slot is not None
    assert held.slot.at == START + 1 + MINUTE


def test_a_held_request_is_admitted_at_its_time_and_counts_from_then() -> None:
    limits = Limits(per_hour=10, per_minute=1)
    fill(limits, START, 1)
    held = spend(limits, START + 59)
    assert held.slot is not None
    assert (held.slot.at, held.remaining, limits.held) == (START + MINUTE, 9, 1)
    taken = limits.take(held.slot, held.slot.at, CLOCK)
    assert (taken.error, taken.slot, taken.remaining, limits.held) == (None, None, 8, 0)
    assert told(spend(limits, START + MINUTE + 1)) == MINUTE - 1


def test_a_spent_hour_holds_what_two_seconds_serve_and_gives_no_time_for_the_rest() -> None:
    limits = Limits(per_hour=2, per_minute=0)
    fill(limits, START, 1)
    fill(limits, START + 1, 1)
    refused = spend(limits, START + 100)
    assert refused.error is not None
    assert refused.error.retry_after is None
    first, second = spend(limits, START + HOUR - 1), spend(limits, START + HOUR - 1)
    assert first.slot is not None
    assert second.slot is not None
    assert [first.slot.at, second.slot.at] == [START + HOUR, START + HOUR + 1]
    third = spend(limits, START + HOUR - 1)
    assert third.error is not None


def test_requests_that_are_rejected_together_come_back_spread() -> None:
    limits = Limits(per_hour=0, per_minute=250)
    fill(limits, START, 250)
    waits = [told(spend(limits, START + 1, b"%d" % number)) for number in range(100)]
    assert waits[0] == 59
    assert waits == sorted(waits)
    assert max(Counter(waits).values()) <= 5  # 250 a minute are 4.2 a second
    assert waits[-1] == 59 + 100 * MINUTE // 250


def test_a_slot_waits_for_its_request_and_not_for_another() -> None:
    limits = Limits(per_hour=0, per_minute=4)
    fill(limits, START, 4)
    back = START + 1 + told(spend(limits, START + 1, b"patient"))
    fill(limits, START + MINUTE, 3)  # others, before it comes back
    assert spend(limits, back, b"another").error is not None
    served = spend(limits, back, b"patient")
    assert (served.error, served.slot) == (None, None)


def test_a_slot_of_a_request_that_does_not_come_back_is_given_to_others() -> None:
    limits = Limits(per_hour=0, per_minute=1)
    fill(limits, START, 1)
    slot = START + 1 + told(spend(limits, START + 1, b"gone"))
    assert spend(limits, slot + 1, b"another").error is not None
    fill(limits, slot + GRACE_SECONDS, 1)


def test_clients_that_never_come_back_take_half_of_a_window_at_most() -> None:
    limits = Limits(per_hour=0, per_minute=20)
    fill(limits, START, 20)
    for number in range(1000):
        assert 1 <= told(spend(limits, START + 1, b"%d" % number)) <= 2 * MINUTE + 1
    fill(limits, START + MINUTE, 10)


def test_a_held_request_whose_client_leaves_makes_room() -> None:
    limits = Limits(per_hour=0, per_minute=1)
    fill(limits, START, 1)
    held = spend(limits, START + 59)
    assert held.slot is not None
    limits.give_back(held.slot)
    fill(limits, START + MINUTE, 1)


def test_so_many_requests_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cenote.api.limits.MOST_HELD", 2)
    limits = Limits(per_hour=0, per_minute=5)
    fill(limits, START, 5)
    found = [spend(limits, START + 59) for _ in range(3)]
    assert [one.slot is not None for one in found] == [True, True, False]
    assert told(found[2]) == 1


# -- Clients that behave like godo


RETRIES = 4  # Terraform's


def _run(
    limits: Limits, clients: int, requests: int, seconds: float, same_path: int
) -> tuple[list[float], list[int], int]:
    """Return when requests were admitted, what the rejected ones were told, and how many were given up.

    ``clients`` at once send ``requests``, each of which takes ``seconds``; every ``same_path`` of them has
    the same path.
    """
    numbers = iter(range(requests))
    order = itertools.count()
    events: list[tuple[float, int, int, int, RateLimitStatus | None]] = []
    for _ in range(clients):
        heapq.heappush(events, (START, next(order), next(numbers), 0, None))
    admitted, waits, lost = list[float](), list[int](), 0
    while events:
        now, _, number, attempt, held = heapq.heappop(events)
        if held is not None and held.slot is not None:
            status = limits.take(held.slot, now, CLOCK)
        else:
            status = spend(limits, now, b"%d" % (number % same_path))
        if status.slot is not None:
            heapq.heappush(events, (status.slot.at, next(order), number, attempt, status))
            continue
        if status.error is not None:
            waits.append(told(status))
            if attempt < RETRIES:
                heapq.heappush(events, (now + waits[-1], next(order), number, attempt + 1, None))
                continue
            lost += 1
        else:
            admitted.append(now)
        following = next(numbers, None)
        if following is not None:
            heapq.heappush(events, (now + seconds, next(order), following, 0, None))
    return admitted, waits, lost


def assert_within(admitted: list[float], limit: int) -> None:
    for first, later in zip(admitted, admitted[limit:], strict=False):
        assert later - first >= MINUTE


@pytest.mark.parametrize("clients", [10, 60])
@pytest.mark.parametrize("same_path", [7, 1_000_000])
def test_a_terraform_like_burst_is_served_in_the_end(clients: int, same_path: int) -> None:
    limits = Limits(per_hour=5_000, per_minute=250)
    admitted, waits, lost = _run(limits, clients, 1_300, 0.02, same_path)
    assert (len(admitted), lost) == (1_300, 0)
    assert_within(sorted(admitted), 250)
    assert admitted[-1] - START < 1_300 / 250 * MINUTE + 10  # no capacity is lost
    assert max(waits) <= 2 * MINUTE


def test_held_requests_are_admitted_at_the_end_of_an_hour_with_more_of_them_to_come() -> None:
    limits = Limits(per_hour=100, per_minute=0)
    for second in range(50):
        fill(limits, START + second, 2)
    events: list[tuple[float, int, RateLimitStatus | None]] = []
    order = itertools.count()
    for number in range(160):
        heapq.heappush(events, (START + HOUR - 4 + number / 5, next(order), None))
    admitted, rejected_later = list[float](), 0
    while events:
        now, _, held = heapq.heappop(events)
        slot = None if held is None else held.slot
        status = spend(limits, now) if slot is None else limits.take(slot, now, CLOCK)
        if status.slot is not None:
            assert slot is None, "held twice"
            heapq.heappush(events, (status.slot.at, next(order), status))
        elif status.error is None:
            admitted.append(now)
        else:
            rejected_later += slot is not None
    assert rejected_later == 0
    assert [
        sum(START + HOUR + second <= at < START + HOUR + second + 1 for at in admitted)
        for second in range(28)
    ] == [2] * 28


@given(
    limit=st.integers(1, 12),
    clients=st.integers(1, 8),
    requests=st.integers(1, 60),
    seconds=st.sampled_from([0.0, 0.3, 1.7, 20.0]),
    same_path=st.integers(1, 5),
)
def test_no_window_ever_holds_more_than_its_limit(
    limit: int, clients: int, requests: int, seconds: float, same_path: int
) -> None:
    admitted, _, _ = _run(Limits(0, limit), min(clients, requests), requests, seconds, same_path)
    assert_within(sorted(admitted), limit)


@given(st.lists(st.integers(0, 5_000), max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_a_request_is_rejected_only_if_two_seconds_would_serve_it_at_the_cost_of_others(
    gaps: list[int], per_hour: int, per_minute: int
) -> None:
    limits = Limits(per_hour, per_minute)
    now, admitted, kept = START, list[float](), list[float]()  # slots: of rejected requests
    for gap in gaps:
        now += gap % (HOUR if gap % 7 == 0 else 20)
        spent = spend(limits, now)
        if spent.slot is not None:
            assert now < spent.slot.at <= now + HOLD_SECONDS
            now = spent.slot.at
            spent = limits.take(spent.slot, now, CLOCK)
            assert spent.slot is None
        if spent.error is None:
            admitted.append(now)
        in_hour = [one for one in admitted if one > now - HOUR]
        in_minute = [one for one in admitted if one > now - MINUTE]
        assert len(in_hour) <= per_hour
        assert len(in_minute) <= per_minute
        assert spent.remaining == per_hour - len(in_hour)
        if spent.error is not None:
            soon = now + HOLD_SECONDS
            spoken_for = min(sum(slot + GRACE_SECONDS > now for slot in kept), max(1, per_minute // 2))
            assert (
                len([one for one in admitted if one > soon - HOUR]) == per_hour
                or len([one for one in admitted if one > soon - MINUTE]) + spoken_for >= per_minute
            )
            if spent.error.retry_after is not None:
                kept.append(now + spent.error.retry_after)
