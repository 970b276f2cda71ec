"""The history of pools over several poolers, for any moments at which they were looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.model.records import Pool
from cenote.security.sealing import Sealer
from cenote.stats.facts import gather
from cenote.stats.history import ClusterHistory
from cenote.stats.history_sums import NEAR_SECONDS, LiveSums, summed
from cenote.stats.observer import MachineNumbers, PoolNumbers, Sample, Samples
from tests.support import records

WEB = Pool(name="web", database="defaultdb", size=4)
HOST = MachineNumbers(processors=2, busy=0.0, idle=0.0)


def history(*looks: tuple[float, PoolNumbers]) -> ClusterHistory:
    found = ClusterHistory()
    for at, numbers in looks:
        found.add(at, [WEB], {"web": numbers}, HOST)
    return found


def steady(begin: float, end: float, every: float = 5.0, **gauges: float) -> ClusterHistory:
    """A pool whose numbers stay the same, with 10 transactions a second."""
    count = int((end - begin) / every)
    times = [begin + every * number for number in range(count + 1)]
    return history(*((at, PoolNumbers(transactions=int(10 * at), **gauges)) for at in times))  # type: ignore[arg-type]


def test_counts_and_rates_are_added_up_and_of_waits_the_longest_is_kept() -> None:
    one = steady(1000, 1100, clients_active=3, clients_waiting=1, servers_active=2, longest_wait=0.5)
    other = steady(1002, 1102, clients_active=4, servers_active=4, longest_wait=2.0)
    samples = summed([one, other]).pools["web"].samples
    assert list(samples.at) == list(one.pools["web"].samples.at)
    for _, row in samples.rows():
        assert (row["clients_active"], row["clients_waiting"], row["servers_active"]) == (7, 1, 6)
        assert (row["size"], row["longest_wait"]) == (8, 2.0)
        assert row["transactions"] == pytest.approx(20)


def test_a_gap_of_one_pooler_is_a_gap_of_the_sum_and_what_was_before_its_first_look_is_none() -> None:
    one = steady(1000, 1300, servers_active=1)
    late = history(
        *((at, PoolNumbers(servers_active=2)) for at in (1100.0, 1105.0, 1110.0)),
        *((at, PoolNumbers(servers_active=2)) for at in (1205.0, 1210.0, 1215.0)),
    )
    rows = dict(summed([one, late]).pools["web"].samples.rows())
    assert rows[1050.0]["servers_active"] == 1, "the other one had not begun to look"
    assert rows[1110.0]["servers_active"] == 3
    assert 1160.0 not in rows, "the other one could not look then"
    assert rows[1210.0]["servers_active"] == 3


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 9)), min_size=2, max_size=30), st.floats(-3, 3))
def test_what_a_pooler_says_is_never_lost_while_both_are_looked_at(
    steps: list[tuple[float, int]], offset: float
) -> None:
    looks, at = [], 1000.0
    for seconds, active in steps:
        at += 0.5 + seconds
        looks.append((at, PoolNumbers(servers_active=active)))
    one = history(*looks)
    other = history(*((at + offset, PoolNumbers(servers_active=1)) for at, _ in looks))
    both = summed([one, other]).pools["web"].samples
    assert len(both) == len(one.pools["web"].samples)
    for at, row in both.rows():
        assert row["servers_active"] >= 1
        assert any(abs(at - then) <= NEAR_SECONDS for then in other.pools["web"].samples.at)


def test_advice_goes_by_the_pooler_where_a_pool_is_busiest_and_takes_nothing_unknown_for_idle(
    tmp_path: Path,
) -> None:
    made = records.cluster(Sealer(tmp_path / "key"), port=20_000, version="15")
    cluster = replace(made, pools=(WEB,))
    calm = steady(1000, 1120, servers_active=1, clients_active=1)
    full = steady(1000, 1120, servers_active=4, clients_active=4, clients_waiting=3)
    facts = gather(cluster, [calm, full], 1120)
    (pool,) = facts.pools
    assert (pool.recent.waiting, pool.recent.servers_active, pool.working) == (3, 4, 5)
    assert (pool.hours.servers_active, pool.hours.waiting) == (4, 3)
    (unsure,) = gather(cluster, [calm], 1120, complete=False).pools
    assert (unsure.recent.servers_active, unsure.hours.seconds) == (1, 0)


def sample(at: float, active: int) -> Sample:
    row = {"size": 4.0, "servers_active": float(active), "longest_wait": active / 10}
    return Sample(at=at, pools={"web": row}, busy=0.5, sessions=9)


def test_live_sums_have_the_times_of_the_writer_and_wait_for_the_first_word_of_each() -> None:
    live = LiveSums(["node-1", "node-2"])
    assert live.add("node-1", Samples(samples=[sample(10, 1), sample(12, 2)])) == []
    found = live.add("node-2", Samples(samples=[sample(9, 5), sample(13, 6)]))
    assert [(one.at, one.pools["web"]["servers_active"], count) for one, count in found] == [
        (10, 6, 2),
        (12, 8, 2),
    ]
    assert found[0][0].pools["web"]["size"] == 4
    assert found[0][0].pools["web"]["longest_wait"] == 0.5
    assert live.add("node-2", Samples(samples=[sample(15, 6)])) == []
    [(both, count)] = live.add("node-1", Samples(samples=[sample(14, 1)]))
    assert (both.busy, both.sessions, count) == (0.5, 9, 2)


def test_a_host_that_is_silent_is_not_counted_and_the_next_one_gives_the_times() -> None:
    live = LiveSums(["node-1", "node-2"])
    live.add("node-1", Samples(samples=[sample(10, 1)]))
    live.add("node-2", Samples(samples=[sample(10, 5)]))
    live.add("node-1", Samples(problem="Host db-1 does not answer."))
    [(alone, count)] = live.add("node-2", Samples(samples=[sample(30, 5)]))
    assert (alone.pools["web"]["servers_active"], count) == (5, 1)
    assert (alone.busy, alone.sessions) == (None, None), "of a standby's host nothing is told"
    assert live.add("node-1", Samples(samples=[sample(20, 1)])) == [], "time does not go back"
    [(both, count)] = live.add("node-1", Samples(samples=[sample(32, 1)]))
    assert (both.at, both.pools["web"]["servers_active"], count) == (32, 6, 2)
