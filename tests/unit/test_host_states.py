"""The states of hosts, and what is said of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.model.fleet_records import Host, HostDrain, Presence
from cenote.model.records import Cluster, Move, MoveStage, Node
from cenote.model.topology import Absence, Health, topology
from cenote.rules import host_states
from cenote.rules.host_states import DOWN_SECONDS, Drained, Gone, HostState
from cenote.rules.record_formats import HIGHEST, WITH_MOVES
from cenote.store.host_changes import still_there, without_host
from tests.support.wanted import CLUSTER, NOW

HERE = Host(
    id="here",
    name="db-1",
    address="h",
    memory_mib=1,
    cpus=1,
    versions={},
    first_port=1,
    last_port=2,
    reads=HIGHEST,
)
SINCE = Gone(since=NOW, at=100.0)


def node(name: str, host: str) -> Node:
    return Node(name=name, host=host, port=1, pool_port=2)


def moving(stage: MoveStage) -> Cluster:
    nodes = (node("node-1", "a"), node("node-2", "b"))
    return replace(
        CLUSTER, nodes=nodes, move=Move(source="node-1", target="node-2", asked_at=NOW, stage=stage)
    )


def test_a_host_is_down_when_it_was_away_for_long() -> None:
    assert host_states.state(None, 1e9) is HostState.UP
    assert host_states.state(SINCE, 100.0) is HostState.AWAY
    assert host_states.state(SINCE, 100.0 + DOWN_SECONDS - 0.1) is HostState.AWAY
    assert host_states.state(SINCE, 100.0 + DOWN_SECONDS) is HostState.DOWN


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_host_that_is_down_stays_so_until_it_is_back(at: float, first: float, more: float) -> None:
    gone = Gone(since=None, at=at)
    states = list(HostState)
    before, after = (host_states.state(gone, at + passed) for passed in (first, first + more))
    assert states.index(after) >= states.index(before) > 0


def test_of_a_host_that_was_away_already_the_time_is_not_known() -> None:
    alive, opened = Presence(run="r", directory=""), Gone(since=None, at=5.0)
    found = host_states.gone(("a", "b", "c"), {"a": alive}, {"b": SINCE}, opened)
    assert found == {"b": SINCE, "c": opened}


def test_the_nodes_of_a_host_are_unknown_and_then_down_with_its_name_and_the_time() -> None:
    known = {"here": HERE}
    for passed, health in ((1.0, Health.UNKNOWN), (DOWN_SECONDS, Health.DOWN)):
        absences = host_states.absences(known, {"here": SINCE}, 100.0 + passed)
        seen = topology(CLUSTER, {}, {}, absences=absences)
        assert (seen.health, seen.since) == (health, NOW)
        assert seen.reason == f"host db-1 does not answer since {NOW:%Y-%m-%d %H:%M:%S} UTC"


def test_of_the_host_that_asks_only_the_agent_is_away() -> None:
    absences = host_states.absences({"here": HERE}, {"here": SINCE}, 1e6, "here")
    seen = topology(CLUSTER, {}, {}, absences=absences)
    assert (seen.health, seen.since) == (Health.UNKNOWN, NOW)
    assert seen.reason == "the agent of its host does not answer"


def test_the_node_of_a_host_that_was_removed_is_down_whatever_is_reported() -> None:
    lost = replace(CLUSTER, nodes=(replace(CLUSTER.nodes[0], lost_at=NOW),))
    for presences in (None, {}, {"here": Presence(run="run-1", directory="")}):
        seen = topology(lost, {}, presences, absences={"here": Absence()})
        assert (seen.health, seen.reason, seen.since) == (Health.DOWN, "its host was removed", NOW)


@pytest.mark.parametrize(
    ("asked", "there", "words"),
    [
        (10, 10, "draining, 0 of 10 moved"),
        (10, 7, "draining, 3 of 10 moved"),
        (10, 0, "drained, 10 of 10 moved"),
        (2, 3, "draining, 0 of 3 moved"),
        (0, 0, "drained; nothing was on it"),
    ],
)
def test_a_drain_says_how_many_have_moved(asked: int, there: int, words: str) -> None:
    drained = host_states.drained(HostDrain(asked_at=NOW, nodes=asked), there)
    assert drained is not None
    assert drained.words == words
    assert drained.is_done == (there == 0)
    assert host_states.drained(None, there) is None


def test_a_host_is_told_with_all_that_is_to_say_of_it() -> None:
    drained = Drained(asked_at=NOW, nodes=2, moved=1)
    assert host_states.in_words(HERE, HostState.UP, None, None) == ""
    behind = replace(HERE, reads=WITH_MOVES - 1, cenote_version="0.1.0")
    assert host_states.in_words(behind, HostState.UP, None, None).startswith(
        "runs an earlier Cenote (0.1.0):"
    )
    assert host_states.in_words(HERE, HostState.UP, None, drained) == "draining, 1 of 2 moved"
    assert host_states.in_words(HERE, HostState.DOWN, None, drained) == (
        "host db-1 does not answer; draining, 1 of 2 moved"
    )


def test_nodes_that_were_moved_away_count_until_they_are_removed() -> None:
    moved = replace(CLUSTER, left=(node("node-2", "a"),))
    assert host_states.nodes_on("a", [moved, CLUSTER]) == 1
    assert host_states.nodes_on("here", [moved, CLUSTER]) == 2


def test_a_lost_host_takes_the_nodes_that_a_cluster_can_do_without() -> None:
    later = NOW + timedelta(hours=1)
    only = replace(CLUSTER, left=(node("node-9", "a"),))
    assert without_host(only, "a", NOW) == CLUSTER
    assert without_host(CLUSTER, "a", NOW) is CLUSTER
    lost = without_host(CLUSTER, "here", NOW)
    assert [one.lost_at for one in lost.nodes] == [NOW]
    assert without_host(lost, "here", later) is lost

    copying, leaving = moving(MoveStage.COPYING), moving(MoveStage.LEAVING)
    assert without_host(copying, "b", NOW) == replace(copying, nodes=copying.nodes[:1], move=None)
    assert without_host(leaving, "a", NOW) == replace(leaving, nodes=leaving.nodes[1:], move=None)


def test_a_copy_is_kept_when_the_host_of_the_writer_is_lost() -> None:
    copying = moving(MoveStage.COPYING)
    lost = without_host(copying, "a", NOW)
    assert (lost.move, [one.lost_at for one in lost.nodes]) == (copying.move, [NOW, None])


def test_what_is_on_a_host_is_named_when_it_cannot_be_removed() -> None:
    named = [replace(CLUSTER, name=f"c{number}") for number in range(7)]
    going = replace(CLUSTER, deleted_at=NOW)
    assert still_there("db-1", [*named, going]) == (
        "db-1 still has the clusters c0, c1, c2, c3, c4, and 2 more and 1 cluster being deleted. Drain "
        "the host first, and remove it when nothing is left."
    )
    assert still_there("db-1", [going]).startswith("db-1 still has 1 cluster being deleted.")
