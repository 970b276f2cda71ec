"""Deleted clusters: what they are while they can be undeleted, and when they are forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from cenote.model.records import BackupPlan, Keep, Move, MoveStage, Node, Undeletion
from cenote.model.status_records import NodeStatus
from cenote.rules import deletions, sweep
from cenote.rules.host_states import has_part_of
from cenote.rules.scheduling import Candidate, promises, with_free_ports
from tests.support.etcd import bare_cluster
from tests.unit.test_record_formats import host

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BEFORE = NOW - timedelta(hours=1)
ONE = Node(name="node-1", host="a", port=10_000, pool_port=10_001, metrics_port=10_099)
TWO = replace(ONE, name="node-2", host="b")
CLUSTER = replace(bare_cluster("one", 10_000), nodes=(ONE,))
PLAN, MARK = BackupPlan(sealed_passphrase="sealed"), "20260102T000000Z-00000001"
GONE = deletions.deleted(CLUSTER, NOW, 7)


def report(**fields: Any) -> NodeStatus:
    return replace(NodeStatus(reached=5, at=NOW, removed=True, removed_for=NOW, kept=True), **fields)


def test_a_deleted_cluster_is_kept_for_the_days_unless_there_are_none() -> None:
    assert GONE.deleted_at == NOW
    assert GONE.keep == Keep(until=NOW + timedelta(days=7))
    assert deletions.deleted(CLUSTER, NOW, 0) == replace(CLUSTER, deleted_at=NOW)


@pytest.mark.parametrize(
    ("stage", "stays", "leaves"),
    [(MoveStage.COPYING, ONE, TWO), (MoveStage.SWITCHING, ONE, TWO), (MoveStage.LEAVING, TWO, ONE)],
    ids=str,
)
def test_a_cluster_that_is_deleted_during_a_move_stays_where_it_takes_writes(
    stage: MoveStage, stays: Node, leaves: Node
) -> None:
    move = Move(source="node-1", target="node-2", asked_at=BEFORE, stage=stage)
    moving = replace(CLUSTER, nodes=(ONE, TWO), move=move, last_node=2)
    found = deletions.deleted(moving, NOW, 7)
    assert (found.nodes, found.left, found.move) == ((stays,), (leaves,), None)
    assert sweep.is_kept(found, stays.name, ephemeral=False)
    assert not sweep.is_kept(found, leaves.name, ephemeral=False)


def test_of_several_nodes_the_one_that_takes_writes_is_kept() -> None:
    nodes = tuple(replace(ONE, name=f"node-{number}", host=f"host-{number}") for number in (1, 2, 3))
    several = replace(CLUSTER, nodes=nodes, primary="node-3")
    for leader, kept in (("node-2", 1), (None, 2)):
        found = deletions.deleted(several, NOW, 7, leader)
        assert found.nodes == (nodes[kept],)
        assert set(found.left) == set(nodes) - {nodes[kept]}
    assert deletions.deleted(several, NOW, 0, "node-2").nodes == nodes, "nothing is kept"


def test_its_ports_are_free_once_its_hosts_have_stopped_it_for_this_deletion() -> None:
    for reports in ({}, {"node-1": report(removed=False)}, {"node-1": report(removed_for=BEFORE)}):
        assert deletions.put_away(GONE, reports) is GONE
        assert not deletions.is_removed(GONE, reports)
    with_left = replace(GONE, left=(TWO,))
    assert deletions.put_away(with_left, {"node-1": report()}) is with_left
    there = deletions.put_away(with_left, {"node-1": report(), "node-2": report(kept=False)})
    assert there.left == ()
    assert there.is_put_away
    assert deletions.put_away(there, {"node-1": report()}) is there
    assert promises([GONE, there])["a"].nodes == 1


def test_it_is_forgotten_when_its_data_is_not_kept_any_more() -> None:
    purged = deletions.purged(GONE)
    for cluster in (GONE, purged):
        assert not deletions.is_removed(cluster, {"node-1": report()})
        assert not deletions.is_removed(cluster, {"node-1": report(kept=False, removed_for=BEFORE)})
        assert deletions.is_removed(cluster, {"node-1": report(kept=False)})
        assert deletions.is_removed(replace(cluster, nodes=(replace(ONE, lost_at=NOW),)), {})
    assert not sweep.is_kept(purged, "node-1", ephemeral=False)
    assert not sweep.is_kept(GONE, "node-1", ephemeral=True)


def test_an_undeleted_cluster_names_the_deletion_until_its_data_is_back() -> None:
    back = deletions.undeleted(GONE, "two", (ONE,))
    assert back == replace(CLUSTER, name="two", undeletion=Undeletion(deleted_at=NOW, nodes=("node-1",)))
    assert not deletions.is_back(back, {}, 7)
    assert not deletions.is_back(back, {"node-1": report(reached=6)}, 7)
    assert deletions.is_back(back, {"node-1": report(reached=7)}, 7)
    assert not deletions.is_back(CLUSTER, {"node-1": report(reached=7)}, 7)


BACKED_UP = replace(deletions.deleted(CLUSTER, NOW, 7, backed_up=True), backups=PLAN)


def test_one_with_backups_is_kept_for_its_time_when_no_host_has_its_data_any_more() -> None:
    assert BACKED_UP.keep is not None
    until = BACKED_UP.keep.until
    assert deletions.is_in_backups(BACKED_UP, until - timedelta(seconds=1))
    for cluster, now in ((BACKED_UP, until), (deletions.purged(BACKED_UP), NOW), (GONE, NOW)):
        assert not deletions.is_in_backups(cluster, now)
    without = deletions.without_data(replace(BACKED_UP, left=(TWO,)), NOW)
    assert without.is_put_away
    assert (without.nodes, without.left) == ((replace(ONE, lost_at=NOW),), ())
    assert deletions.without_data(without, NOW) is without
    assert deletions.is_removed(without, {})
    assert has_part_of(without, "a") == 0
    assert has_part_of(BACKED_UP, "a") == 1


@pytest.mark.parametrize("former", [(), (ONE,)], ids=["put away", "its host is down"])
def test_one_that_is_undeleted_from_its_backups_gets_a_new_node(former: tuple[Node, ...]) -> None:
    back = deletions.undeleted_from_backups(BACKED_UP, "two", (TWO,), former, NOW, MARK)
    assert (back.deleted_at, back.keep, back.undeletion) == (None, None, None)
    assert (back.name, back.nodes, back.left, back.last_node) == ("two", (TWO,), former, 2)
    assert back.restoration is not None
    assert (back.restoration.node, back.restoration.source) == ("node-2", CLUSTER.id)
    assert (back.restoration.fork, back.restoration.target) == (False, None)
    assert back.backups == replace(PLAN, lineage=MARK)


@pytest.mark.parametrize("days", [0, 7])
def test_one_that_is_deleted_again_still_names_the_deletion_until_its_data_is_put_away(days: int) -> None:
    back, later = deletions.undeleted(GONE, "two", (ONE,)), NOW + timedelta(days=1)
    again = deletions.deleted(back, later, days)
    assert again.undeletion == back.undeletion
    for kept in (True, False):
        assert not deletions.is_removed(again, {"node-1": report(kept=kept)}), "that was the first deletion"
    assert deletions.is_removed(again, {"node-1": report(kept=False, removed_for=later)})
    if days:
        away = deletions.put_away(again, {"node-1": report(removed_for=later)})
        assert away.is_put_away
        assert away.undeletion is None


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        (set(), (10_000, 10_001, 10_099)),
        ({10_001}, (10_002, 10_003, 10_099)),
        ({10_099}, (10_000, 10_001, 10_098)),
        ({10_000, 10_003}, (10_004, 10_005, 10_099)),
    ],
    ids=["all free", "pools", "metrics", "two"],
)
def test_ports_stay_the_same_as_far_as_they_are_free(taken: set[int], expected: tuple[int, ...]) -> None:
    there = replace(host("a", 4), first_port=10_000, last_port=10_099)
    found = with_free_ports(ONE, Candidate(there, taken=taken))
    assert (found.port, found.pool_port, found.metrics_port) == expected


def test_ports_that_the_host_does_not_give_out_any_more_are_replaced() -> None:
    there = replace(host("a", 4), first_port=10_001, last_port=10_098)
    found = with_free_ports(ONE, Candidate(there))
    assert (found.port, found.pool_port, found.metrics_port) == (10_001, 10_002, 10_098)
    above = replace(ONE, port=10_098, pool_port=10_099, metrics_port=10_050)
    found = with_free_ports(above, Candidate(there))
    assert (found.port, found.pool_port, found.metrics_port) == (10_001, 10_002, 10_050)


def test_what_is_kept_says_until_when() -> None:
    assert sweep.why_kept(GONE, "node-1", NOW, 600) == (
        "its cluster one was deleted at 2026-01-02 00:00 UTC, and can be undeleted until 2026-01-09 00:00 UTC"
    )
    for late in (NOW, NOW + timedelta(days=3)):
        assert sweep.why_kept(deletions.purged(GONE), "node-1", late, 600) == "", "whenever the host is there"
