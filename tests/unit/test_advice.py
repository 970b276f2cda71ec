"""Advice on pools: what it says, what it rests on, and when it says nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.model import catalog
from cenote.model.records import Pool, PoolMode
from cenote.stats.advice import BREAKS_IN_TRANSACTION_MODE, Action, ActionKind, Advice, AdviceSeverity, advise
from cenote.stats.facts import Facts, Hours, MachineFacts, PoolFacts, Recent

SINCE = 1_800_000_000.0
IDLE = MachineFacts(processors=4, busy=0.1, server=0.1, sessions=5)
BUSY = MachineFacts(processors=4, busy=0.97, server=3.6, sessions=5)
# 8 clients wait for 2 servers, for a minute and a half.
WAITING = Recent(
    samples=45,
    seconds=90,
    clients=2,
    waiting=8,
    waiting_share=1.0,
    waiting_since=SINCE,
    servers_active=2,
    in_transaction=2,
    in_query=2,
    transactions=40,
    longest_wait=0.3,
)
CALM = Recent(
    samples=45, seconds=90, clients=2, servers_active=1, in_transaction=0.5, in_query=0.5, transactions=20
)


UNKNOWN = Hours()


def pool(recent: Recent = CALM, hours: Hours = UNKNOWN, name: str = "web", **fields: Any) -> PoolFacts:
    wanted: dict[str, Any] = {"name": name, "database": "defaultdb", "size": 2} | fields
    return PoolFacts(Pool(**wanted), recent, hours)


def facts(*pools: PoolFacts, machine: MachineFacts | None = IDLE, **fields: Any) -> Facts:
    taken = sum(one.pool.size for one in pools)
    known: dict[str, Any] = {
        "cluster_size": "db-s-1vcpu-1gb",
        "connections": 25,
        "capacity": 22,
        "left": 22 - taken,
        "query_wait_timeout": 120,
        "prepared_statements": 200,
        "pools": pools,
        "machine": machine,
    }
    return Facts(**known | fields)


def the(kind: str, about: Facts) -> Advice:
    (found,) = (one for one in advise(about) if one.kind == kind)
    return found


def kinds(about: Facts) -> list[str]:
    return [one.kind for one in advise(about)]


def test_while_clients_wait_the_samples_that_are_still_missing_are_counted() -> None:
    few = replace(WAITING, samples=2, seconds=4)
    found = the("collecting", facts(pool(few)))
    assert found.sentence == "Clients wait; collecting (2 of 5 samples)."
    assert (found.severity, found.pool, found.actions) == (AdviceSeverity.NOTE, "web", ())
    assert the("collecting", facts(pool(Recent()))).sentence == "Collecting (0 of 5 samples)."
    # Five samples within eight seconds are not enough either.
    assert the("collecting", facts(pool(replace(WAITING, samples=5, seconds=8)))).numbers["samples"] == 4
    for enough in (WAITING, CALM, replace(CALM, samples=2, seconds=4)):
        assert "collecting" not in kinds(facts(pool(enough)))


def test_clients_that_wait_while_processors_idle_are_a_reason_to_grow_by_as_many() -> None:
    found = the("grow", facts(pool(WAITING)))
    assert found.sentence == (
        "On average 8 clients wait, with 2 of 2 servers busy, while 90 % of the processors are idle: grow "
        "the pool by 8, to 10."
    )
    assert (found.severity, found.since) == (AdviceSeverity.PROBLEM, SINCE)
    assert found.numbers["clients_waiting"] == 8
    assert found.actions == (
        Action(kind=ActionKind.RESIZE_POOL, pool="web", size=10, words="Grow web from 2 to 10"),
    )


def test_clients_that_wait_while_processors_are_busy_are_no_reason_to_grow() -> None:
    about = facts(pool(WAITING), machine=BUSY)
    found = the("busy", about)
    assert "97 % of the processors are busy: do not grow" in found.sentence
    assert found.actions == ()
    assert "grow" not in kinds(about)


def test_queries_that_take_no_processor_are_a_reason_to_grow_on_a_busy_machine_too() -> None:
    found = the("grow", facts(pool(WAITING), machine=replace(BUSY, server=0.02)))
    assert "hardly any processor time" in found.sentence


def test_a_pool_grows_by_no_more_than_there_are_processors_for() -> None:
    found = the("grow", facts(pool(WAITING), machine=replace(IDLE, busy=0.5, server=1.0)))
    assert found.numbers["grow_by"] == 4  # each server takes half a processor, and two are idle


def test_what_is_left_bounds_the_growth_and_a_larger_cluster_is_offered() -> None:
    found = the("grow", facts(pool(WAITING), left=3))
    assert "grow the pool by 3, to 5. It could use 8" in found.sentence
    assert [action.kind for action in found.actions] == [ActionKind.RESIZE_POOL, ActionKind.RESIZE_CLUSTER]
    assert found.actions[1].cluster_size == "db-s-1vcpu-2gb"


def test_with_nothing_left_a_pool_that_idles_can_give_back() -> None:
    idle = pool(CALM, Hours(seconds=600, since=SINCE, servers_active=1), name="idle", size=15)
    used = pool(CALM, Hours(seconds=600, since=SINCE, servers_active=5), name="used", size=5)
    found = the("grow", facts(pool(WAITING), idle, used, left=0))
    assert found.sentence.endswith("8 more connections would help, but none are left.")
    assert found.actions[0].words == "Shrink idle from 15 to 7"
    assert found.actions[1].kind == ActionKind.RESIZE_CLUSTER


def test_the_largest_cluster_of_its_kind_is_not_told_to_be_larger() -> None:
    found = the("grow", facts(pool(WAITING), left=0, cluster_size="db-s-6vcpu-16gb", capacity=397))
    assert found.actions == ()


@pytest.mark.parametrize(
    "seen",
    [
        replace(WAITING, samples=4, waiting_since=None),
        replace(WAITING, seconds=8, waiting_since=None),
        replace(WAITING, waiting_since=None),
        replace(WAITING, waiting=0.4),
        replace(WAITING, waiting_share=0.1),
    ],
    ids=["few samples", "a short time", "nobody waits any more", "hardly anybody", "seldom"],
)
def test_nothing_is_said_of_too_little(seen: Recent) -> None:
    assert kinds(facts(pool(seen))) == []


def test_clients_that_wait_for_a_pool_without_servers_are_not_told_to_grow_it() -> None:
    about = facts(pool(replace(WAITING, servers_active=0)))
    assert kinds(about) == ["no_servers"]


def test_servers_that_idle_for_hours_are_to_be_given_back() -> None:
    used = Hours(seconds=3 * 3600 + 60, since=SINCE, servers_active=3)
    found = the("give_back", facts(pool(hours=used, size=10), pool(name="other")))
    assert found.sentence == (
        "At most 3 of 10 servers were busy in 3 hours: shrink the pool by 6, to free connections for other "
        "pools."
    )
    assert (found.actions[0].size, found.severity) == (4, AdviceSeverity.HINT)


def test_a_pool_that_nobody_uses_keeps_one_connection() -> None:
    found = the("give_back", facts(pool(hours=Hours(seconds=9_000, since=SINCE), size=10)))
    assert found.sentence.startswith("The pool was not used in 2 hours: shrink the pool by 9")


@pytest.mark.parametrize(
    "seen",
    [Hours(seconds=7_000), Hours(seconds=9_000, servers_active=8), Hours(seconds=9_000, waiting=1)],
    ids=["for a short time", "and was needed", "and somebody waited"],
)
def test_nothing_is_to_be_given_back_that_idles(seen: Hours) -> None:
    assert "give_back" not in kinds(facts(pool(hours=seen, size=10), pool(name="other")))


def test_sessions_that_hold_servers_for_nothing_are_a_reason_for_transaction_mode() -> None:
    held = replace(CALM, servers_active=9, in_transaction=0.4)
    found = the("try_transaction_mode", facts(pool(held, mode=PoolMode.SESSION, size=10)))
    assert found.severity == AdviceSeverity.HINT
    assert "9 servers are each held by a session, and on average 0.4 of them is in a transaction" in (
        found.sentence
    )
    assert found.actions[0].mode == PoolMode.TRANSACTION
    assert found.breaks == BREAKS_IN_TRANSACTION_MODE


def test_while_clients_wait_for_sessions_the_mode_comes_before_the_size() -> None:
    held = replace(WAITING, servers_active=4, in_transaction=0.1)
    about = facts(pool(held, mode=PoolMode.SESSION, size=4))
    found = the("try_transaction_mode", about)
    assert found.severity == AdviceSeverity.PROBLEM
    assert [action.kind for action in found.actions] == [ActionKind.CHANGE_MODE, ActionKind.RESIZE_POOL]
    assert "grow" not in kinds(about)


def test_transactions_that_wait_for_their_clients_are_told_of() -> None:
    seen = replace(CALM, servers_active=3, in_transaction=3, in_query=0.5, transactions=25)
    found = the("idle_in_transaction", facts(pool(seen, size=5)))
    assert "83 % of their transactions waiting for the client" in found.sentence
    assert "lasts 120 ms, its queries 20 ms" in found.sentence


def test_transactions_that_do_not_end_are_told_of() -> None:
    seen = replace(CALM, servers_active=2, in_transaction=0, in_query=0, transactions=0.01)
    assert the("long_transactions", facts(pool(seen))).sentence.startswith("2 of 2 servers are held")
    assert kinds(facts(pool(replace(seen, transactions=1)))) == []


def test_a_wait_near_the_timeout_is_a_problem() -> None:
    found = the("wait_timeout", facts(pool(replace(CALM, longest_wait=70))))
    assert found.sentence.startswith("A client has waited for 70 s; after 120 s")
    assert kinds(facts(pool(replace(CALM, longest_wait=70)), query_wait_timeout=0)) == []


def test_statement_mode_is_never_left_without_a_word() -> None:
    assert (
        "BEGIN is an error" in the("statement_mode", facts(pool(Recent(), mode=PoolMode.STATEMENT))).sentence
    )


def test_a_pool_that_may_take_all_connections_is_told_of() -> None:
    assert the("takes_all", facts(pool(Recent(), size=22))).numbers == {"size": 22, "capacity": 22}


def test_prepared_statements_that_were_turned_off_are_told_of() -> None:
    assert kinds(facts(pool(), prepared_statements=0)) == ["no_prepared_statements"]


def test_sessions_near_the_limit_are_told_of_the_cluster() -> None:
    found = the("connections_spent", facts(pool(), machine=replace(IDLE, sessions=24)))
    assert found.pool == ""
    assert "24 of at most 25 sessions" in found.sentence


numbers = st.floats(0, 500, allow_nan=False)
recents = st.builds(
    Recent,
    samples=st.integers(0, 60),
    seconds=st.floats(0, 130),
    clients=numbers,
    waiting=numbers,
    waiting_share=st.floats(0, 1),
    waiting_since=st.none() | st.just(SINCE),
    servers_active=numbers,
    in_transaction=numbers,
    in_query=numbers,
    transactions=numbers,
    longest_wait=numbers,
)
hours = st.builds(Hours, seconds=st.floats(0, 90_000), servers_active=st.integers(0, 500), waiting=numbers)
machines = st.builds(
    MachineFacts,
    processors=st.integers(1, 64),
    busy=st.floats(0, 1),
    server=st.floats(0, 64),
    sessions=st.integers(0, 600),
)


@st.composite
def clusters(draw: st.DrawFn) -> Facts:
    size = draw(st.sampled_from(list(catalog.SIZES.values())))
    capacity = left = catalog.pool_capacity(size)
    pools = []
    for number in range(draw(st.integers(0, 4))):
        if left:
            own = draw(st.integers(1, left))
            left -= own
            mode = draw(st.sampled_from(PoolMode))
            pools.append(pool(draw(recents), draw(hours), name=f"pool-{number}", size=own, mode=mode))
    return facts(
        *pools,
        machine=draw(st.none() | machines),
        cluster_size=size.slug,
        capacity=capacity,
        connections=capacity + 3,
        left=left,
    )


@given(clusters())
def test_every_action_can_be_taken(about: Facts) -> None:
    sizes = {one.pool.name: one.pool.size for one in about.pools}
    for one in advise(about):
        assert one.pool == "" or one.pool in sizes
        for action in one.actions:
            if action.kind is ActionKind.RESIZE_POOL:
                assert 1 <= action.size <= sizes[action.pool] + about.left
                assert action.size != sizes[action.pool]
            elif action.kind is ActionKind.RESIZE_CLUSTER:
                assert catalog.pool_capacity(catalog.SIZES[action.cluster_size]) > about.capacity


@given(clusters())
def test_the_most_pressing_comes_first_and_of_each_kind_a_pool_has_one(about: Facts) -> None:
    found = advise(about)
    order = [list(AdviceSeverity).index(one.severity) for one in found]
    assert order == sorted(order)
    assert len({(one.pool, one.kind) for one in found}) == len(found)
    assert all(one.sentence.endswith(".") and "nan" not in one.sentence for one in found)


@given(clusters())
def test_nobody_is_told_to_grow_a_pool_and_to_give_it_back(about: Facts) -> None:
    for name in {one.pool.name for one in about.pools}:
        said = {one.kind for one in advise(about) if one.pool == name}
        assert not {"grow", "give_back"} <= said
        assert not {"grow", "busy"} <= said
        assert not {"grow", "no_servers"} <= said
