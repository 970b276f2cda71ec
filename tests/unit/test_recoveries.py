"""Clusters that are recovered from their backups: when, where, and what they are then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from cenote.errors import Busy, Invalid
from cenote.model.records import BackupPlan, MajorUpgrade, Move, Node, Restoration
from cenote.rules import lineages, recoveries, repository_listing
from cenote.rules.host_states import HostState
from cenote.rules.recoveries import Loss, NodeSeen
from cenote.rules.scheduling import Candidate
from tests.support.etcd import bare_cluster
from tests.unit.test_moves import host

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
ONE = Node(name="node-1", host="a", port=10_000, pool_port=10_001, metrics_port=10_009)
TWO = replace(ONE, name="node-2", host="b")
PLAN = BackupPlan(sealed_passphrase="sealed", asked_at=NOW)
CLUSTER = replace(bare_cluster("one", 10_000), nodes=(ONE,), backups=PLAN)
MARK = "20260501T120000Z-0123abcd"
KEEPING = {"repository": "file:///srv"}


def seen(state: HostState = HostState.DOWN, node: Node = ONE, *, data_missing: bool = False) -> NodeSeen:
    return NodeSeen(node, "db-a", state, data_missing)


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (seen(HostState.DOWN), Loss.DOWN),
        (seen(HostState.UP, data_missing=True), Loss.MISSING),
        (seen(HostState.UP, replace(ONE, lost_at=NOW)), Loss.REMOVED),
        (seen(HostState.DOWN, replace(ONE, lost_at=NOW)), Loss.REMOVED),
    ],
    ids=["down", "missing", "removed", "removed and down"],
)
def test_a_cluster_is_recovered_when_its_data_cannot_be_had(there: NodeSeen, expected: Loss) -> None:
    assert recoveries.loss(CLUSTER, there) is expected


@pytest.mark.parametrize(
    ("change", "there", "error", "words"),
    [
        ({}, seen(HostState.UP), Busy, "db-a, the host of the cluster, is up and has its data"),
        ({}, seen(HostState.AWAY), Busy, "does not answer, but for less than 20 seconds"),
        ({}, seen(HostState.AWAY, data_missing=True), Busy, "for less than 20 seconds"),
        ({"backups": None}, seen(), Busy, "No backups were kept"),
        (
            {"restoration": Restoration(node="node-1", source=CLUSTER.id, asked_at=NOW)},
            seen(),
            Busy,
            "being restored from backups already",
        ),
        (
            {"restoration": Restoration(node="node-1", source=CLUSTER.id, asked_at=NOW, fork=False)},
            seen(HostState.UP),
            Busy,
            "being restored from backups already",
        ),
        (
            {"nodes": (ONE, TWO), "move": Move(source="node-1", target="node-2", asked_at=NOW)},
            seen(),
            Busy,
            "Cancel the move first",
        ),
    ],
    ids=["up", "away", "away and missing", "no backups", "fork", "recovered", "moved"],
)
def test_why_a_cluster_is_not_recovered_is_told_in_words(
    change: dict[str, Any], there: NodeSeen, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        recoveries.loss(replace(CLUSTER, **change), there)


def candidates(**of_b: Any) -> list[Candidate]:
    return [Candidate(host("a", **KEEPING), HostState.DOWN), Candidate(host("b", **{**KEEPING, **of_b}))]


def test_it_gets_a_node_of_its_own_on_another_host_that_keeps_backups_with_its_ports() -> None:
    assert recoveries.target(CLUSTER, Loss.DOWN, candidates()) == TWO
    taken = [candidates()[0], Candidate(host("b", **KEEPING), taken={10_000})]
    found = recoveries.target(replace(CLUSTER, last_node=4), Loss.DOWN, taken)
    assert (found.name, found.host) == ("node-5", "b")
    assert found.port != 10_000
    for wish in ("b", "db-b"):
        assert recoveries.target(CLUSTER, Loss.DOWN, candidates(), host=wish) == TWO


@pytest.mark.parametrize(
    ("every", "wish", "error", "words"),
    [
        (candidates(repository=""), "", Busy, "keeps backups"),
        (candidates(repository=""), "db-b", Busy, "db-b keeps no backups"),
        (candidates(versions={"15": "15.1"}), "db-b", Busy, "db-b has no PostgreSQL 16"),
        (candidates(), "db-a", Busy, "db-a is the host that the cluster is to be recovered from"),
        (candidates(), "nowhere", Invalid, "no host named 'nowhere'"),
    ],
    ids=["no other", "wished", "version", "itself", "unknown"],
)
def test_why_no_host_takes_it_is_told_in_words(
    every: list[Candidate], wish: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        recoveries.target(CLUSTER, Loss.DOWN, every, host=wish)


def test_where_only_the_data_are_missing_it_stays_on_its_host_unless_another_one_is_wished() -> None:
    every = [Candidate(host("a", **KEEPING), taken={10_000, 10_001, 10_009}), candidates()[1]]
    assert recoveries.target(CLUSTER, Loss.MISSING, every) == replace(ONE, name="node-2")
    assert recoveries.target(CLUSTER, Loss.MISSING, every, host="db-b") == TWO


def test_a_recovered_cluster_is_what_it_was_but_for_its_node_and_the_mark() -> None:
    found = recoveries.recovered(CLUSTER, TWO, NOW, MARK)
    assert found.restoration == Restoration(
        node="node-2", source=CLUSTER.id, asked_at=NOW, sealed_passphrase="sealed", fork=False
    )
    assert found == replace(
        CLUSTER,
        nodes=(TWO,),
        left=(ONE,),
        last_node=2,
        backups=replace(PLAN, lineage=MARK),
        restoration=found.restoration,
    )
    removed = replace(CLUSTER, nodes=(replace(ONE, lost_at=NOW),))
    assert recoveries.recovered(removed, TWO, NOW, MARK).left == (), "its host never comes back"


def test_a_recovered_cluster_has_the_version_of_its_newest_backup() -> None:
    upgraded = replace(CLUSTER, version="17")
    assert recoveries.recovered(upgraded, TWO, NOW, MARK).version == "17"
    assert recoveries.recovered(upgraded, TWO, NOW, MARK, version="15").version == "15"
    mark = MajorUpgrade(source="15", asked_at=NOW)
    begun = replace(upgraded, major_upgrade=mark)
    for version, expected in (("", "15"), ("15", "15"), ("17", "17")):
        found = recoveries.recovered(begun, TWO, NOW, MARK, version=version)
        assert (found.version, found.major_upgrade) == (expected, None)
    assert recoveries.version_change(upgraded, "") == recoveries.version_change(upgraded, "17") == []
    [words] = recoveries.version_change(upgraded, "15")
    assert words == "It has PostgreSQL 15, of which its newest backup is, and had 17."


def test_one_of_several_nodes_is_recovered_when_all_of_them_are_lost_and_gets_as_many() -> None:
    several = replace(CLUSTER, nodes=(ONE, TWO), primary="node-2", last_node=2)
    assert recoveries.lost_node(several) == TWO
    assert recoveries.loss(several, seen(node=TWO), [seen()]) is Loss.DOWN
    with pytest.raises(Busy, match="is up and has its data"):
        recoveries.loss(several, seen(node=TWO), [seen(HostState.UP)])
    three, four = replace(ONE, name="node-3", host="c"), replace(TWO, name="node-4", host="d", added_at=NOW)
    found = recoveries.recovered(several, three, NOW, MARK, (four,))
    assert (found.nodes, found.left, found.last_node, found.primary) == ((three, four), (ONE, TWO), 4, "")
    assert found.restoration is not None
    assert found.restoration.node == "node-3"


def test_one_whose_new_host_is_lost_before_it_has_the_data_is_recovered_once_more() -> None:
    first = recoveries.recovered(CLUSTER, TWO, NOW, MARK)
    assert recoveries.loss(first, seen(node=TWO)) is Loss.DOWN
    three = replace(TWO, name="node-3", host="c")
    found = recoveries.recovered(first, three, NOW, MARK)
    assert (found.nodes, found.left, found.last_node) == ((three,), (ONE, TWO), 3)
    assert found.restoration is not None
    assert found.restoration.node == "node-3"


def test_the_copy_of_a_move_whose_source_is_lost_leaves_too() -> None:
    move = Move(source="node-1", target="node-2", asked_at=NOW)
    moving = replace(CLUSTER, nodes=(replace(ONE, lost_at=NOW), TWO), move=move, last_node=2)
    assert recoveries.loss(moving, seen(node=moving.nodes[0])) is Loss.REMOVED
    three = replace(TWO, name="node-3", host="c")
    found = recoveries.recovered(moving, three, NOW, MARK)
    assert (found.nodes, found.left, found.move, found.last_node) == ((three,), (TWO,), None, 3)


def test_what_may_be_missing_is_the_time_since_the_last_archived_wal() -> None:
    assert recoveries.missing_seconds(NOW - timedelta(seconds=42), NOW) == 42
    assert recoveries.missing_seconds(NOW + timedelta(seconds=2), NOW) == 0
    assert recoveries.missing_seconds(None, NOW) is None


def test_the_newest_mark_is_the_last_by_name_whatever_else_lies_there() -> None:
    older, newer = lineages.mark(NOW - timedelta(seconds=1), "ffffffff"), lineages.mark(NOW, "00000000")
    assert newer == "20260501T120000Z-00000000"
    assert lineages.mark(NOW - timedelta(days=1), "00000000", newer) == "20260501T120001Z-00000000"
    assert lineages.mark(NOW, "00000000", older) == newer
    assert lineages.newest(["zzz", older, newer, "README"]) == newer
    assert lineages.is_superseded(older, ["README", newer, older])
    assert lineages.is_superseded("", [older])
    for own, names in ((newer, [older, newer]), ("", []), ("", ["README", "zzz"]), (newer, ["zzz"])):
        assert not lineages.is_superseded(own, names)


def test_the_newest_wal_is_found_by_the_names_of_an_archive() -> None:
    archives = repository_listing.parse(
        '{".":{"type":"path"},"15-1":{"type":"path"},"17-10":{"type":"path"},"17-9":{"type":"path"},'
        '"archive.info":{"type":"file","size":1,"time":9}}'
    )
    assert repository_listing.newest_archive(archives) == "17-10"
    assert repository_listing.newest_archive({}) == ""
    folders = dict.fromkeys(
        ("0000000100000000", "0000000100000001", "0000000200000001", "00000002.history"),
        repository_listing.Listed("path"),
    )
    assert repository_listing.newest_folders(folders) == ["0000000100000001", "0000000200000001"]
    files = repository_listing.parse(
        '{".":{"type":"path"},"a":{"type":"file","time":7},"b":{"type":"file","time":5}}'
    )
    assert repository_listing.newest_file(files) == datetime.fromtimestamp(7, UTC)
    assert repository_listing.newest_file({}) is None
    with pytest.raises(ValueError, match="something else than expected"):
        repository_listing.parse("nothing")
