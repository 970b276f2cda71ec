"""Planned switches, over any sequence of what hosts report: nobody is held for long, and each one ends."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.controller import switches
from cenote.controller.switches import HOLD_SECONDS, SWITCH_SECONDS, is_asked_for, step
from cenote.errors import Busy, Invalid
from cenote.model.event_records import EventType
from cenote.model.records import Cluster, Node, Switchover, SwitchStage
from cenote.model.status_records import NodeStatus, Standby
from cenote.rules import switch_progress
from cenote.rules.switches import begun, cancelled
from tests.support.wanted import CLUSTER, NOW

NAMES = ("node-1", "node-2", "node-3")
HOSTS = ("a", "b", "c")
NODES = tuple(
    Node(name=name, host=host, port=1, pool_port=2) for name, host in zip(NAMES, HOSTS, strict=True)
)
TRIO = replace(CLUSTER, nodes=NODES, primary="node-1")
PREPARING, HOLDING, SWITCHING = SwitchStage.PREPARING, SwitchStage.HOLDING, SwitchStage.SWITCHING
SEEN = NodeStatus(reached=5, at=NOW)
FOLLOWS = replace(SEEN, standby=Standby(streaming=True, replayed=1))
GOOD = {
    "node-1": replace(SEEN, followers=NAMES[1:], quorum=NAMES[1:]),
    "node-2": FOLLOWS,
    "node-3": FOLLOWS,
}


def switching(stage: SwitchStage = PREPARING, **changes: Any) -> Cluster:
    switch = Switchover(
        source="node-1", target="node-2", asked_at=NOW, until=NOW + timedelta(seconds=60), stage=stage
    )
    return replace(TRIO, switchover=replace(switch, **changes))


def reports(
    cluster: Cluster, *held: str, ready: bool = True, busy: Collection[str] = ()
) -> dict[str, NodeStatus]:
    """What hosts report that have prepared and hold what is asked for; those that are ``busy`` cannot."""
    assert cluster.switchover is not None
    attempt = cluster.switchover.attempt
    found = {name: replace(one, held_for=attempt if name in held else "") for name, one in GOOD.items()}
    found = {name: replace(one, free_for="" if name in busy else attempt) for name, one in found.items()}
    return {**found, "node-1": replace(found["node-1"], ready_for=attempt if ready else "")}


def stage_after(
    cluster: Cluster,
    *held: str,
    waited: float = 0.0,
    leader: str | None = "node-1",
    alive: Collection[str] = HOSTS,
    now: datetime = NOW,
    ready: bool = True,
) -> SwitchStage | None:
    seen = reports(cluster, *held, ready=ready)
    found = step(cluster, leader, seen, alive, waited=waited, now=now)
    after = cluster if found is None else found.cluster
    return None if after.switchover is None else after.switchover.stage


def test_pools_are_held_once_the_writer_is_ready_and_the_other_node_close() -> None:
    assert stage_after(switching(), ready=False) is PREPARING
    assert stage_after(switching()) is HOLDING
    far = replace(FOLLOWS, standby=Standby(streaming=True, replayed=1, behind=5 * 2**20))
    seen = {**reports(switching()), "node-2": far}
    assert step(switching(), "node-1", seen, HOSTS, waited=0, now=NOW) is None
    assert "5 MiB behind" in switch_progress.waits_for(switching(), "node-1", seen, HOSTS)


def test_nobody_is_held_while_a_transaction_in_a_pool_of_any_host_goes_on() -> None:
    cluster = switching()
    for busy in NAMES:
        seen = reports(cluster, busy=(busy,))
        assert step(cluster, "node-1", seen, HOSTS, waited=30, now=NOW) is None
        seen[busy] = replace(seen[busy], busy_seconds=7)
        words = "a transaction in a pool has been open for more than 7 s"
        assert switch_progress.waits_for(cluster, "node-1", seen, HOSTS) == words
    others = [host for host in HOSTS if host != HOSTS[1]]
    found = step(cluster, "node-1", reports(cluster, busy=NAMES[1:2]), others, waited=0, now=NOW)
    assert found is not None, "a host that does not answer holds nobody"
    before = replace(cluster.switchover, tries=1) if cluster.switchover else None
    again = replace(cluster, switchover=before)
    assert step(again, "node-1", reports(cluster), HOSTS, waited=30, now=NOW) is None, "of the attempt before"


def test_the_writer_is_restarted_in_its_place_and_its_pools_go_on_as_soon_as_it_says_so() -> None:
    in_place = switching(target="node-1")
    assert stage_after(in_place, ready=False) is PREPARING
    assert stage_after(in_place) is HOLDING
    assert stage_after(switching(HOLDING, target="node-1"), *NAMES) is SWITCHING
    restarting = switching(SWITCHING, target="node-1")
    assert restarting.switchover is not None
    assert step(restarting, "node-1", GOOD, HOSTS, waited=1, now=NOW) is None
    assert switch_progress.waits_for(restarting, "node-1", GOOD, HOSTS) == "node-1 restarts"
    done = {**GOOD, "node-1": replace(GOOD["node-1"], restarted_for=restarting.switchover.attempt)}
    after = step(restarting, "node-1", done, HOSTS, waited=1, now=NOW)
    assert after is not None
    assert (after.cluster.switchover, after.event) == (None, None)
    late = step(restarting, "node-1", GOOD, HOSTS, waited=SWITCH_SECONDS + 1, now=NOW)
    assert late is not None
    assert late.reason == "node-1 was not restarted in time"
    lost = step(restarting, "node-2", GOOD, HOSTS, waited=1, now=NOW)
    assert lost is not None
    assert lost.cluster.switchover is None
    over = step(in_place, "node-1", reports(in_place, ready=False), HOSTS, waited=0, now=NOW + timedelta(1))
    assert over is not None
    assert over.event is not None
    assert over.event.what == "gave up the restart of node-1 in its place: a checkpoint is written"


def test_patroni_is_asked_only_when_all_living_hosts_hold_their_pools() -> None:
    assert stage_after(switching(HOLDING), "node-1", "node-2") is HOLDING
    assert stage_after(switching(HOLDING), *NAMES) is SWITCHING
    assert stage_after(switching(HOLDING), "node-1", "node-2", alive=("a", "b")) is SWITCHING


def test_one_pooler_for_two_nodes_of_a_host_is_asked_once() -> None:
    beside = replace(switching(HOLDING), nodes=(NODES[0], replace(NODES[1], host="a")))
    assert stage_after(beside, "node-1") is SWITCHING


def test_what_was_held_for_an_attempt_before_does_not_count() -> None:
    former, now = switching(HOLDING), switching(HOLDING, tries=1)
    assert step(now, "node-1", reports(former, *NAMES), HOSTS, waited=0, now=NOW) is None


def test_nobody_is_held_for_longer_than_a_moment() -> None:
    late = HOLD_SECONDS + 0.01
    found = step(switching(HOLDING), "node-1", reports(switching(HOLDING)), HOSTS, waited=late, now=NOW)
    assert found is not None
    again = found.cluster.switchover
    assert again is not None
    assert (again.stage, again.tries) == (PREPARING, 1)
    assert stage_after(replace(TRIO, switchover=again), waited=0.1) is PREPARING, "a pause comes first"
    assert stage_after(replace(TRIO, switchover=again), waited=0.6) is HOLDING


def test_what_patroni_was_asked_for_goes_on_although_the_record_does_not_say_so_yet() -> None:
    cluster, late = switching(HOLDING), HOLD_SECONDS + 0.1
    found = step(cluster, "node-1", reports(cluster), HOSTS, waited=late, now=NOW, asked=True)
    assert found is not None
    assert found.cluster.switchover is not None
    assert found.cluster.switchover.stage is SWITCHING


def test_a_switch_is_over_when_another_node_takes_writes_whichever_it_is() -> None:
    for stage in SwitchStage:
        for leader in ("node-2", "node-3"):
            assert stage_after(switching(stage), leader=leader) is None
        assert stage_after(switching(stage), leader=None, ready=False) is stage


def test_a_node_that_does_not_take_over_has_the_switch_tried_again_and_given_up() -> None:
    late = SWITCH_SECONDS + 1
    assert stage_after(switching(SWITCHING), waited=late) is PREPARING
    assert stage_after(switching(SWITCHING), waited=late, leader=None) is SWITCHING, "another one is to lead"
    over = NOW + timedelta(seconds=61)
    assert stage_after(switching(SWITCHING), waited=late, now=over) is None
    for stage in (PREPARING, HOLDING):
        found = step(
            switching(stage), "node-1", reports(switching(stage), ready=False), HOSTS, waited=0, now=over
        )
        assert found is not None
        assert found.event is not None
        assert found.event.what.startswith("gave up the switch from node-1 to node-2: ")


def test_what_patroni_refuses_is_tried_again_at_once() -> None:
    seen = reports(switching(SWITCHING))
    found = step(switching(SWITCHING), "node-1", seen, HOSTS, waited=0.3, now=NOW, refused=True)
    assert found is not None
    assert found.cluster.switchover is not None
    assert (found.cluster.switchover.stage, found.cluster.switchover.tries) == (PREPARING, 1)


def test_patroni_keeps_what_it_was_asked_for_only_while_that_is_being_switched() -> None:
    switch = switching(SWITCHING).switchover
    assert switch is not None
    assert is_asked_for(switching(SWITCHING), None), "it may be a former controller's"
    assert is_asked_for(switching(HOLDING), switch.attempt), "the record does not say so yet"
    for stage in (PREPARING, HOLDING):
        assert not is_asked_for(switching(stage), None)
        assert not is_asked_for(switching(stage, tries=1), switch.attempt), "the attempt before"
    assert not is_asked_for(TRIO, switch.attempt), "it was cancelled"
    found = step(switching(SWITCHING), "node-1", GOOD, HOSTS, waited=SWITCH_SECONDS + 1, now=NOW)
    assert found is not None
    assert not is_asked_for(found.cluster, switch.attempt), "it is tried again"


def test_a_switch_to_a_node_that_was_removed_is_given_up() -> None:
    found = step(
        replace(switching(), nodes=NODES[:1]), "node-1", reports(switching()), HOSTS, waited=0, now=NOW
    )
    assert found is not None
    assert found.cluster.switchover is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from((None, *NAMES)),
            st.sets(st.sampled_from(NAMES)),
            st.booleans(),
            st.floats(0.05, 20),
            st.sets(st.sampled_from(HOSTS), min_size=1),
        ),
        max_size=40,
    )
)
def test_whatever_happens_a_switch_ends_and_asks_only_while_all_are_held(
    happenings: list[tuple[str | None, set[str], bool, float, set[str]]],
) -> None:
    cluster, now, waited = switching(), NOW, 0.0
    steady = [("node-1", set[str](), False, 5.0, set(HOSTS))] * 20  # nobody is ever ready
    for leader, held, ready, seconds, alive in [*happenings, *steady]:
        now, waited = now + timedelta(seconds=seconds), waited + seconds
        seen = reports(cluster, *held, ready=ready)
        found = step(cluster, leader, seen, alive, waited=waited, now=now)
        if found is None:
            assert switch_progress.waits_for(cluster, leader, seen, alive)
            continue
        before, after = cluster.switchover, found.cluster.switchover
        if after is None:
            return
        assert before is not None
        if after.stage is SWITCHING and before.stage is not SWITCHING:
            assert before.stage is HOLDING
            assert {name for name, host in zip(NAMES, HOSTS, strict=True) if host in alive} <= held
        cluster, waited = found.cluster, 0.0
    raise AssertionError(cluster.switchover)


# -- Beginning


def test_the_node_that_lacks_least_is_chosen_of_those_that_commits_wait_for() -> None:
    far = {**GOOD, "node-2": replace(FOLLOWS, standby=Standby(streaming=True, replayed=1, behind=9))}
    assert target(begun(TRIO, "node-1", far, NOW)) == "node-3"
    only = {**far, "node-1": replace(GOOD["node-1"], quorum=("node-2",))}
    assert target(begun(TRIO, "node-1", only, NOW)) == "node-2"
    assert target(begun(TRIO, "node-1", GOOD, NOW, candidate="node-3")) == "node-3"


def target(cluster: Cluster) -> str:
    assert cluster.switchover is not None
    return cluster.switchover.target


@pytest.mark.parametrize(
    ("cluster", "leader", "seen", "candidate", "refusal", "words"),
    [
        pytest.param(CLUSTER, None, GOOD, "", Invalid, "has one node", id="one node"),
        pytest.param(TRIO, "node-1", GOOD, "node-9", Invalid, "has no node 'node-9'", id="unknown"),
        pytest.param(TRIO, "node-1", GOOD, "node-1", Invalid, "takes writes already", id="leads already"),
        pytest.param(TRIO, None, GOOD, "", Busy, "No node takes writes", id="no leader"),
        pytest.param(switching(), "node-1", GOOD, "", Busy, "under way already", id="second switch"),
        pytest.param(TRIO, "node-1", {"node-1": SEEN}, "", Busy, "No other node follows", id="no follower"),
        pytest.param(TRIO, "node-1", {"node-1": SEEN}, "node-2", Busy, "does not follow", id="not following"),
        pytest.param(
            TRIO,
            "node-1",
            {**GOOD, "node-1": replace(GOOD["node-1"], quorum=("node-2",))},
            "node-3",
            Busy,
            "choose node-2",
            id="not waited for",
        ),
    ],
)
def test_what_cannot_be_switched_is_refused_in_words(
    cluster: Cluster,
    leader: str | None,
    seen: dict[str, NodeStatus],
    candidate: str,
    refusal: type[Exception],
    words: str,
) -> None:
    with pytest.raises(refusal, match=words):
        begun(cluster, leader, seen, NOW, candidate=candidate)


def test_a_switch_can_be_cancelled_once() -> None:
    assert cancelled(switching()).switchover is None
    with pytest.raises(Invalid, match="No switch is under way"):
        cancelled(TRIO)


# -- Promotions


def test_each_promotion_is_told_once_with_its_reason_and_time() -> None:
    assert switches.promoted(TRIO, "node-1", "", None) is None
    assert switches.promoted(TRIO, None, "", 1.0) is None
    assert switches.promoted(TRIO, "node-9", "", 1.0) is None
    found = switches.promoted(TRIO, "node-3", "host a does not answer", 1.26)
    assert found is not None
    assert found.event is not None
    assert found.event.what == "promoted node-3 in place of node-1, after 1.3 s: host a does not answer"
    assert found.event.type is EventType.CLUSTER_MASTER_PROMOTION
    assert switches.promoted(found.cluster, "node-3", "", None) is None
    first = switches.promoted(replace(TRIO, primary=""), "node-1", "", None)
    assert first is not None
    assert first.event is None


def test_for_how_long_clients_were_held_is_known_when_each_living_host_leads_them_on() -> None:
    led = {
        name: replace(SEEN, led_to="node-2", held_ms=ms)
        for name, ms in zip(NAMES, (400, 0, 350), strict=True)
    }
    assert switches.held(TRIO, "node-2", led, HOSTS) == 0.4
    held = {**led, "node-3": replace(SEEN, led_to="")}
    assert switches.held(TRIO, "node-2", held, HOSTS) is None
    assert switches.held(TRIO, "node-2", held, ("a", "b")) == 0.4
    assert switches.held(TRIO, "node-3", led, HOSTS) is None, "they were led to another node before"


def test_the_event_of_a_promotion_says_for_how_long_clients_were_held() -> None:
    found = switches.promoted(TRIO, "node-3", "a switch was asked for", 0.2, 0.4)
    assert found is not None
    assert found.event is not None
    assert found.event.what.endswith(": a switch was asked for; clients of its pools were held for 0.4 s")
    without = switches.promoted(TRIO, "node-3", "a switch was asked for", 0.2, 0.0)
    assert without is not None
    assert "held" not in without.reason, "it has no pools"
