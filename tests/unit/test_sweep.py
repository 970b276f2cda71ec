"""What becomes of the nodes that have folders on a host: only positive evidence removes one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.model.records import BackupPlan, Cluster, Node, Tombstone
from cenote.model.status_records import DiskUse
from cenote.rules import deletions
from cenote.rules.storage import reserve_mib
from cenote.rules.sweep import (
    Evidence,
    Fate,
    is_given_up,
    is_later,
    is_nearly_full,
    is_needed,
    is_over,
    judge,
    why_kept,
)
from tests.support.etcd import bare_cluster

OURS, OTHER = uuid4(), uuid4()
NOW = datetime(2026, 11, 29, 7, 0, tzinfo=UTC)

hosts = st.sampled_from(["here", "there"])
names = st.sampled_from(["node-1", "node-2", "node-3"])
nodes = st.lists(
    st.builds(Node, name=names, host=hosts, port=st.just(25060), pool_port=st.just(25061)),
    max_size=3,
    unique_by=lambda node: (node.name, node.host),
).map(tuple)


@st.composite
def records(draw: st.DrawFn) -> Cluster:
    return replace(
        bare_cluster("kept", 25060),
        nodes=draw(nodes),
        left=draw(nodes),
        deleted_at=draw(st.none() | st.just(NOW)),
    )


evidences = st.builds(
    Evidence,
    store=st.sampled_from([OURS, OTHER, None]),
    record=st.none() | records(),
    tombstone=st.none() | st.just(Tombstone(name="kept", at=NOW)),
    readable=st.booleans(),
)


def has(found: tuple[Node, ...], name: str) -> bool:
    return any((node.name, node.host) == (name, "here") for node in found)


@given(name=names, evidence=evidences)
def test_a_node_is_removed_only_by_what_its_own_store_says_of_it(name: str, evidence: Evidence) -> None:
    verdict = judge(name, "here", evidence, store=OURS)
    if verdict.fate is Fate.REMOVED:
        assert evidence.store == OURS
        assert evidence.readable
        record = evidence.record
        assert evidence.tombstone is not None or record is not None
        if record is not None:
            assert record.deleted_at is not None or has(record.left, name)
            assert not has(record.nodes, name)
    assert verdict.why or verdict.fate is Fate.KEPT


@given(name=names, evidence=evidences)
def test_a_node_that_its_record_has_here_is_never_touched(name: str, evidence: Evidence) -> None:
    if evidence.store == OURS and evidence.record is not None and has(evidence.record.nodes, name):
        for unwanted in (False, True):
            assert judge(name, "here", evidence, store=OURS, unwanted=unwanted).fate is Fate.KEPT


@given(name=names, evidence=evidences)
def test_a_store_that_says_less_removes_nothing_more(name: str, evidence: Evidence) -> None:
    """An empty, an older or another store knows nothing of a cluster."""
    empty = Evidence(store=evidence.store)
    assert judge(name, "here", empty, store=OURS).fate is Fate.UNKNOWN
    assert judge(name, "here", evidence, store=uuid4()).fate is Fate.UNKNOWN


@given(name=names, evidence=evidences)
def test_an_operator_removes_what_is_unknown_and_nothing_else(name: str, evidence: Evidence) -> None:
    before, after = (judge(name, "here", evidence, store=OURS, unwanted=wanted) for wanted in (False, True))
    if before.fate is Fate.UNKNOWN:
        assert after.fate is Fate.REMOVED
        assert before.why in after.why
    else:
        assert after == before


def test_what_is_in_the_trash_stays_unless_its_own_store_knows_of_the_deletion() -> None:
    living = bare_cluster("kept", 25060)
    living = replace(living, nodes=(replace(living.nodes[0], host="here"),))
    deleted = deletions.deleted(living, NOW, 7)
    back = deletions.undeleted(deleted, "kept", deleted.nodes)
    later = NOW + timedelta(hours=1)
    again = deletions.deleted(back, later, 7)
    elsewhere = replace(living, nodes=(replace(living.nodes[0], host="there"),))
    for evidence, deleted_at, needed in (
        (Evidence(OURS, deleted), NOW, False),
        (Evidence(OURS, None, Tombstone(name="kept", at=NOW)), NOW, False),
        (Evidence(OURS), NOW, False),
        (Evidence(OURS, elsewhere), NOW, False),
        (Evidence(OURS, back), NOW, True),
        (Evidence(OURS, living), NOW, True),  # a copy from before the deletion
        (Evidence(OURS, again), NOW, True),  # its host has not brought it back yet
        (Evidence(OURS, again), later, False),
        (Evidence(OURS, readable=False), NOW, True),
        (Evidence(OTHER, deleted), NOW, True),
        (Evidence(None), NOW, True),
    ):
        assert is_needed("here", evidence, deleted_at, store=OURS) is needed, (evidence, deleted_at)


def test_each_verdict_says_why() -> None:
    cluster = bare_cluster("kept", 25060)
    [node] = cluster.nodes
    for evidence, fate, words in (
        (Evidence(OURS, cluster), Fate.KEPT, ""),
        (Evidence(OURS, readable=False), Fate.KEPT, "cannot be read"),
        (Evidence(OURS), Fate.UNKNOWN, "neither a record of its cluster nor of its deletion"),
        (Evidence(OTHER, cluster), Fate.UNKNOWN, f"this data directory belongs to the store {OURS}"),
        (Evidence(None), Fate.UNKNOWN, "another store"),
        (Evidence(OURS, None, Tombstone(name="kept", at=NOW)), Fate.REMOVED, "kept was deleted"),
        (Evidence(OURS, replace(cluster, nodes=(), left=(node,))), Fate.REMOVED, "moved to another host"),
        (
            Evidence(OURS, replace(cluster, nodes=(replace(node, host="there"),))),
            Fate.UNKNOWN,
            "has it on another host (there)",
        ),
        (
            Evidence(OURS, replace(cluster, nodes=(replace(node, name="node-2"),))),
            Fate.UNKNOWN,
            "has no such node",
        ),
        (
            Evidence(OURS, replace(cluster, nodes=(), deleted_at=NOW)),
            Fate.REMOVED,
            "was deleted at 2026-11-29 07:00 UTC",
        ),
    ):
        verdict = judge("node-1", "here", evidence, store=OURS)
        assert verdict.fate is fate
        assert words in verdict.why


def test_without_the_id_of_its_store_a_host_believes_any_store() -> None:
    stone = Tombstone(name="kept", at=NOW)
    assert judge("node-1", "here", Evidence(OTHER, None, stone)).fate is Fate.REMOVED


def test_a_deletion_is_late_and_trash_is_over_after_their_times() -> None:
    cluster = replace(bare_cluster("kept", 25060), deleted_at=NOW)
    assert not why_kept(cluster, "node-1", NOW + timedelta(minutes=10), 600)
    assert "was deleted at" in why_kept(cluster, "node-1", NOW + timedelta(minutes=11), 600)
    assert not why_kept(replace(cluster, deleted_at=None), "node-1", NOW + timedelta(days=9), 600)
    moved = replace(cluster, nodes=(), left=cluster.nodes, deleted_at=None)
    assert (
        why_kept(moved, "node-1", NOW, 600)
        == "its cluster kept was moved to another host, or recovered there"
    )
    assert not is_over(NOW, NOW + timedelta(days=7), 7)
    assert is_over(NOW, NOW + timedelta(days=7, seconds=1), 7)


@given(disk=st.integers(1_000, 1_000_000), free=st.integers(0, 1_000_000))
def test_the_trash_goes_before_writes_are_refused(disk: int, free: int) -> None:
    use = DiskUse(used_mib=0, free_mib=free, disk_mib=disk)
    if free < reserve_mib(use):
        assert is_nearly_full(use)


def test_of_nodes_to_be_removed_only_the_target_of_a_move_that_was_given_up_is_later_than_all() -> None:
    first, second, third = (
        Node(name=f"node-{number}", host="here", port=25060, pool_port=25061) for number in (1, 2, 10)
    )
    given_up = replace(bare_cluster("kept", 25060), nodes=(second,), left=(first, third))
    assert is_later(given_up, "node-10")
    assert not is_later(given_up, "node-1")  # it was moved away from
    assert not is_later(given_up, "node-2")
    assert not is_later(replace(given_up, deleted_at=NOW), "node-10")


def test_a_recovery_gives_up_the_nodes_that_a_cluster_had_before_and_no_later_ones() -> None:
    old, first, second, later = (
        Node(name=f"node-{number}", host="here", port=25060, pool_port=25061) for number in (2, 9, 10, 11)
    )
    plan = BackupPlan(sealed_passphrase="sealed", lineage="20261129T070000Z-0123abcd")
    cluster = replace(bare_cluster("kept", 25060), nodes=(first, second), left=(old, later), backups=plan)
    assert is_given_up(cluster, "node-2")
    assert not is_given_up(cluster, "node-11"), "it was added and removed after the recovery"
    assert not is_given_up(cluster, "node-9")
    assert not is_given_up(replace(cluster, backups=replace(plan, lineage="")), "node-2")
    assert not is_given_up(replace(cluster, backups=None), "node-2")
