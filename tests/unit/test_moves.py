"""Which clusters can be moved, and where to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from cenote.errors import Busy, Invalid
from cenote.model.fleet_records import Host
from cenote.model.records import Cluster, ClusterStatus, MoveStage, Node
from cenote.model.status_records import NodeStatus
from cenote.rules import moves
from cenote.rules.host_states import HostState
from cenote.rules.scheduling import Candidate
from tests.support.etcd import bare_cluster

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SEEN = NodeStatus(reached=1, at=NOW)
ONLINE = ClusterStatus.ONLINE


def host(id: str, **fields: Any) -> Host:
    bare = Host(
        id=id,
        name=f"db-{id}",
        address="h",
        memory_mib=8192,
        cpus=1,
        versions={"16": "16.1"},
        first_port=10_000,
        last_port=10_009,
        fleet_address=f"10.0.0.{id}",
    )
    return replace(bare, **fields)


def cluster(**fields: Any) -> Cluster:
    node = Node(name="node-1", host="a", port=10_000, pool_port=10_001, metrics_port=10_009)
    return replace(bare_cluster("one", 10_000), nodes=(node,), **fields)


def candidates(**of_b: Any) -> list[Candidate]:
    return [Candidate(host("a")), Candidate(host("b"), **of_b)]


def moved(found: Cluster, *, stage: MoveStage = MoveStage.COPYING) -> Cluster:
    after = moves.begun(found, moves.target(found, candidates()), NOW)
    assert after.move is not None
    return replace(after, move=replace(after.move, stage=stage))


def test_a_move_begins_with_a_new_node_and_leaves_the_writer_where_it_is() -> None:
    found = moved(cluster())
    assert [(node.name, node.host) for node in found.nodes] == [("node-1", "a"), ("node-2", "b")]
    assert found.move is not None
    assert (found.move.stage, found.move.writer) == (MoveStage.COPYING, "node-1")


def test_no_node_has_the_name_of_a_former_one() -> None:
    given_up = moves.cancelled(moved(cluster()))
    assert [node.name for node in given_up.left] == ["node-2"]
    assert moves.next_name(replace(given_up, left=())) == "node-3"


def test_the_ports_are_kept_where_they_are_free() -> None:
    node = moves.target(cluster(), candidates())
    assert (node.port, node.pool_port, node.metrics_port) == (10_000, 10_001, 10_009)
    node = moves.target(cluster(), candidates(taken={10_001, 10_009}))
    assert (node.port, node.pool_port, node.metrics_port) == (10_002, 10_003, 10_008)
    # Those of the pair that is kept are not given to the metrics, which were elsewhere before.
    source = Node(name="node-1", host="a", port=10_008, pool_port=10_009, metrics_port=20_000)
    node = moves.target(replace(cluster(), nodes=(source,)), candidates())
    assert (node.port, node.pool_port, node.metrics_port) == (10_008, 10_009, 10_007)


@pytest.mark.parametrize(
    ("wish", "of_b", "error", "words"),
    [
        ("db-c", {}, Invalid, "host: there is no host named 'db-c'."),
        ("db-a", {}, Invalid, "host: the cluster is on db-a already."),
        ("b", {"drained": True}, Busy, "host: db-b is being drained."),
        ("b", {"state": HostState.DOWN}, Busy, "host: db-b does not answer."),
    ],
)
def test_a_wish_that_cannot_be_fulfilled_is_refused_in_words(
    wish: str, of_b: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        moves.target(cluster(), candidates(**of_b), host=wish)


def test_a_host_without_the_version_is_refused() -> None:
    there = [Candidate(host("a")), Candidate(host("b", versions={"15": "15.4"}))]
    with pytest.raises(Invalid, match="host: db-b has no PostgreSQL 16"):
        moves.target(cluster(), there, host="db-b")


def test_hosts_that_others_cannot_reach_are_told() -> None:
    alone, other = Candidate(host("a", fleet_address="")), Candidate(host("b"))
    with pytest.raises(Busy, match="The host of the cluster, db-a, was started without --address"):
        moves.target(cluster(), [alone, other])
    unreachable = Candidate(host("b", fleet_address=""))
    with pytest.raises(Busy, match="Each other host was started without --address"):
        moves.target(cluster(), [Candidate(host("a")), unreachable])
    with pytest.raises(Busy, match="host: db-b was started without --address"):
        moves.target(cluster(), [Candidate(host("a")), unreachable, Candidate(host("c"))], host="db-b")
    with pytest.raises(Busy, match="There is no other host"):
        moves.target(cluster(), [Candidate(host("a"))])


def test_a_host_that_still_removes_a_former_node_is_not_taken() -> None:
    left = (Node(name="node-2", host="b", port=1, pool_port=2),)
    with pytest.raises(Busy, match="db-b still removes a former node"):
        moves.target(cluster(left=left), candidates(), host="db-b")


def test_a_cluster_is_not_moved_off_a_host_that_does_not_answer() -> None:
    for state in (HostState.AWAY, HostState.DOWN):
        with pytest.raises(Busy, match="The host of the cluster, db-a, does not answer"):
            moves.target(cluster(), [Candidate(host("a"), state=state), Candidate(host("b"))])


def test_why_no_host_is_left_is_told_in_words() -> None:
    left = (Node(name="node-2", host="b", port=1, pool_port=2),)
    with pytest.raises(Busy, match="Each other host cannot be reached, still removes a former node"):
        moves.target(cluster(left=left), candidates())
    with pytest.raises(Busy, match="Each other host cannot be reached"):
        moves.target(cluster(), candidates(), spared={"b"})
    zones = [Candidate(host("a", zone="east")), Candidate(host("b", zone="west"))]
    assert moves.target(cluster(), zones, zone="west").host == "b"
    with pytest.raises(Busy, match="zone: each other host of that zone cannot be reached"):
        moves.target(cluster(left=left), zones, zone="west")
    with pytest.raises(Invalid, match="zone: the cluster is in that zone already, and no other host is"):
        moves.target(cluster(), zones, zone="east")
    with pytest.raises(Invalid, match=r"^zone: no host is in the zone 'north'; there is east, west"):
        moves.target(cluster(), zones, zone="north")


def test_only_a_cluster_that_is_online_and_does_not_move_is_moved() -> None:
    moves.check(cluster(), SEEN, ONLINE)
    with pytest.raises(Busy, match="cluster is resizing"):
        moves.check(cluster(), SEEN, ClusterStatus.RESIZING)
    with pytest.raises(Busy, match="is being moved already"):
        moves.check(moved(cluster()), SEEN, ONLINE)
    with pytest.raises(Invalid, match="Drop them first: a, b, c, …"):
        moves.check(cluster(), replace(SEEN, logical_slots=tuple("abcd")), ONLINE)


def test_a_move_can_be_cancelled_until_the_target_has_taken_over() -> None:
    for stage in (MoveStage.COPYING, MoveStage.SWITCHING):
        found = moves.cancelled(moved(cluster(), stage=stage))
        assert (found.move, found.nodes) == (None, cluster().nodes)
    with pytest.raises(Busy, match="Move it back instead"):
        moves.cancelled(moved(cluster(), stage=MoveStage.LEAVING))
    with pytest.raises(Invalid, match="not being moved"):
        moves.cancelled(cluster())


def test_the_copy_of_a_cluster_whose_host_was_lost_is_not_removed_by_cancelling() -> None:
    found = moved(cluster())
    source, target = found.nodes
    with pytest.raises(Busy, match="all that is left of its data"):
        moves.cancelled(replace(found, nodes=(replace(source, lost_at=NOW), target)))
