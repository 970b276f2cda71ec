"""What is kept of the past of pools, and how much memory it may take."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.model.records import Pool
from cenote.stats.history import (
    DAY_MINUTES,
    FULL_BYTES,
    SAMPLES,
    ClusterHistory,
    PoolHistory,
    downsample,
    max_minutes,
)
from cenote.stats.observer import MachineNumbers, PoolNumbers

POOL = Pool(name="web", database="defaultdb", size=4)
BEGIN = 1_800_000_000.0  # a whole minute


def history_of(*looks: tuple[float, PoolNumbers], most: int = DAY_MINUTES) -> PoolHistory:
    past = PoolHistory()
    for seconds, numbers in looks:
        past.add(BEGIN + seconds, POOL, numbers, most)
    return past


def test_the_first_look_tells_nothing_since_rates_need_two() -> None:
    assert len(history_of((0, PoolNumbers(transactions=5))).samples) == 0


def test_rates_are_of_the_time_between_two_looks() -> None:
    past = history_of(
        (0, PoolNumbers(transactions=100, queries=300)),
        (4, PoolNumbers(transactions=120, queries=380, clients_waiting=3, longest_wait=0.5)),
    )
    ((at, row),) = past.samples.rows()
    assert at == BEGIN + 4
    assert (row["transactions"], row["queries"]) == (5, 20)
    assert (row["clients_waiting"], row["longest_wait"], row["size"]) == (3, 0.5, 4)


def test_waiting_is_no_part_of_the_time_in_a_transaction() -> None:
    before = PoolNumbers(transactions=1, waited=10, in_transactions=30, in_queries=25)
    after = PoolNumbers(transactions=2, waited=18, in_transactions=42, in_queries=35)
    ((_, row),) = history_of((0, before), (2, after)).samples.rows()
    assert (row["waiting"], row["in_transaction"], row["in_query"]) == (4, 2, 1)


def test_a_pooler_that_was_started_again_has_no_rates_below_zero() -> None:
    past = history_of((0, PoolNumbers(transactions=900)), (2, PoolNumbers(transactions=10)))
    ((_, row),) = past.samples.rows()
    assert row["transactions"] == 0


def test_no_rate_is_told_over_a_time_in_which_the_pooler_did_not_answer() -> None:
    past = history_of((0, PoolNumbers(transactions=10)))
    past.interrupt()
    past.add(BEGIN + 100, POOL, PoolNumbers(transactions=5_000), DAY_MINUTES)
    assert len(past.samples) == 0


def test_a_minute_has_averages_and_extremes_of_its_samples() -> None:
    looks = [(2.0 * number, PoolNumbers(clients_waiting=number % 5)) for number in range(33)]
    past = history_of(*looks)
    ((at, row),) = past.minutes.rows()
    assert at == BEGIN
    assert (row["least_clients_waiting"], row["most_clients_waiting"]) == (0, 4)
    assert row["clients_waiting"] == pytest.approx(sum(n % 5 for n in range(1, 30)) / 29)


@pytest.mark.parametrize("every", [2.0, 15.0])
def test_a_full_history_takes_no_more_memory_than_is_said(every: float) -> None:
    past, at = ClusterHistory(), BEGIN
    machine = MachineNumbers(processors=2, busy=1, idle=1)
    while at < BEGIN + 26 * 3600:
        past.add(at, [POOL], {}, machine)
        at += every
    pool = past.pools["web"]
    assert len(pool.samples) >= SAMPLES
    assert len(pool.minutes) >= DAY_MINUTES
    slack = 1.08  # rows that go in bulk
    assert pool.samples.size_bytes <= slack * FULL_BYTES.samples
    assert pool.minutes.size_bytes <= slack * FULL_BYTES.minutes
    assert sum(FULL_BYTES) <= 101 * 1024


@given(pools=st.integers(0, 30_000), room=st.integers(0, 2**28))
def test_the_day_is_cut_so_that_all_pools_fit(pools: int, room: int) -> None:
    minutes = max_minutes(pools, room)
    assert 60 <= minutes <= DAY_MINUTES
    if minutes > 60:
        per_minute = FULL_BYTES.minutes / DAY_MINUTES
        assert pools * (FULL_BYTES.samples + minutes * per_minute) <= room or pools == 0


def test_a_shorter_day_takes_hold_of_what_is_there() -> None:
    past = PoolHistory()
    for number in range(400):
        past.add(BEGIN + 60 * number, POOL, PoolNumbers(), DAY_MINUTES if number < 300 else 60)
    assert len(past.minutes) < 60 + 32


def test_a_pool_that_is_gone_is_forgotten_and_one_that_is_back_begins_anew() -> None:
    past = ClusterHistory()
    for second in range(5):
        past.add(BEGIN + second, [POOL], {}, None)
    assert len(past.pools["web"].samples) == 4
    past.add(BEGIN + 6, [], {}, None)
    assert past.pools == {}
    past.add(BEGIN + 7, [POOL], {}, None)
    assert len(past.pools["web"].samples) == 0


def test_a_number_that_does_not_fit_is_the_largest_that_does() -> None:
    past = history_of((0, PoolNumbers()), (1, PoolNumbers(clients_active=70_000)))
    assert past.samples["clients_active"][0] == 65_535


def test_the_machine_is_told_as_a_share_and_as_processors() -> None:
    past = ClusterHistory()
    past.add(BEGIN, [], {}, MachineNumbers(processors=4, busy=10, idle=90, server=3))
    past.add(BEGIN + 2, [], {}, MachineNumbers(processors=4, busy=16, idle=92, server=6, sessions=7))
    ((_, row),) = past.machine.samples.rows()
    assert (row["busy"], row["server"], row["sessions"], row["processors"]) == (0.75, 1.5, 7, 4)


@given(
    times=st.lists(st.floats(0, 1_000), min_size=1, max_size=60, unique=True).map(sorted),
    points=st.integers(2, 30),
    data=st.data(),
)
def test_fewer_points_keep_the_most_that_waited_and_the_order(
    times: list[float], points: int, data: st.DataObject
) -> None:
    waiting = data.draw(st.lists(st.integers(0, 9), min_size=len(times), max_size=len(times)))
    at, fewer = downsample(times, {"clients_waiting": waiting, "transactions": waiting}, points)
    assert len(at) <= points or len(at) == len(times) <= points
    assert all(before < after for before, after in pairwise(at))
    assert at[-1] == times[-1]
    assert max(fewer["clients_waiting"]) == max(waiting)
    assert min(waiting) <= min(fewer["transactions"]) <= max(fewer["transactions"]) <= max(waiting)


def test_a_history_moves_with_a_clock_that_is_set_back_and_goes_on() -> None:
    past = ClusterHistory()

    def add(seconds: float, number: int) -> None:
        numbers = {"web": PoolNumbers(transactions=number)}
        past.add(BEGIN + seconds, [POOL], numbers, MachineNumbers(processors=1, busy=number, idle=number))

    for number in range(70):
        add(2 * number, number)
    past.shift(-3600.5)
    for number in range(70, 200):
        add(2 * number - 3600.5, number)
    pool = past.pools["web"]
    assert list(pool.samples.at) == sorted(pool.samples.at)
    assert len(pool.samples) == len(past.machine.samples) == 199
    assert set(pool.samples["transactions"]) == {0.5}  # no gap, and no rate of an hour
    assert [later - earlier for earlier, later in pairwise(pool.samples.at)] == [2.0] * 198
    minutes = list(pool.minutes.at)
    assert len(minutes) >= 4
    assert minutes == sorted(set(minutes))
