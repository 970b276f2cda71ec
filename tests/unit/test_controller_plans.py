"""What the controller changes, from records and reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from cenote.controller import plans
from cenote.model.event_records import Event, Note
from cenote.model.fleet_records import Host
from cenote.model.records import Cluster, Node, StorageAutoscale
from cenote.model.status_records import DiskUse, NodeStatus, ReportedNote
from cenote.rules import deletions
from cenote.store.audit_log import KEPT_FOR, MOST_OF_A_CLUSTER
from cenote.store.event_ids import new_id
from tests.support.etcd import bare_cluster

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
GIB = 1024
HOST = Host(
    id="h1", name="db-1", address="h", memory_mib=1, cpus=1, versions={}, first_port=10_000, last_port=10_009
)


def report(**fields: Any) -> NodeStatus:
    return replace(NodeStatus(reached=1, at=NOW, storage_mib=10 * GIB), **fields)


def growing(**fields: Any) -> Cluster:
    policy = StorageAutoscale(enabled=True, threshold_percent=80, increment_gib=10)
    return replace(bare_cluster("one", 10_000, host="h1"), autoscale=policy, **fields)


def used(gib: int) -> DiskUse:
    return DiskUse(used_mib=gib * GIB, free_mib=500 * GIB, disk_mib=1000 * GIB)


def two_nodes(**fields: Any) -> Cluster:
    nodes = tuple(
        Node(name=f"node-{number}", host=f"h{number}", port=10_000, pool_port=10_001) for number in (1, 2)
    )
    return replace(bare_cluster("one", 10_000), nodes=nodes, **fields)


def test_storage_grows_when_the_writers_use_has_reached_the_threshold() -> None:
    cluster = growing()
    assert plans.grown(cluster, {"node-1": report(use=used(8))}).storage_mib == 20 * GIB
    assert plans.grown(cluster, {"node-1": report(use=used(7))}) is cluster
    assert plans.grown(cluster, {"node-1": report()}) is cluster
    assert plans.grown(cluster, {}) is cluster


def test_storage_does_not_grow_again_before_the_last_growth_is_carried_out() -> None:
    grown = plans.grown(growing(), {"node-1": report(use=used(19))})
    assert plans.grown(grown, {"node-1": report(use=used(19))}) is grown
    there = report(use=used(19), storage_mib=grown.storage_mib)
    assert plans.grown(grown, {"node-1": there}).storage_mib == 30 * GIB


def test_the_storage_of_a_deleted_cluster_does_not_grow() -> None:
    cluster = growing(deleted_at=NOW)
    assert plans.grown(cluster, {"node-1": report(use=used(9))}) is cluster


def test_nodes_without_a_metrics_port_get_one_from_the_top_of_their_hosts_range() -> None:
    cluster = bare_cluster("one", 10_000, host="h1")
    changed = plans.with_metrics_ports(cluster, {"h1": HOST}, {"h1": {10_000, 10_001, 10_009}})
    assert [node.metrics_port for node in changed.nodes] == [10_008]
    assert plans.with_metrics_ports(changed, {"h1": HOST}, {"h1": set()}) is changed


def test_two_nodes_on_one_host_get_ports_of_their_own() -> None:
    cluster = two_nodes()
    together = replace(cluster, nodes=tuple(replace(node, host="h1") for node in cluster.nodes))
    changed = plans.with_metrics_ports(together, {"h1": HOST}, {"h1": set()})
    assert [node.metrics_port for node in changed.nodes] == [10_009, 10_008]


def test_no_port_is_given_where_none_is_free_or_the_host_is_unknown() -> None:
    cluster = bare_cluster("one", 10_000, host="h1")
    full = set(range(10_000, 10_010))
    assert plans.with_metrics_ports(cluster, {"h1": HOST}, {"h1": full}) is cluster
    assert plans.with_metrics_ports(cluster, {}, {}) is cluster


def test_a_cluster_is_removed_when_each_of_its_hosts_has_said_so() -> None:
    cluster = two_nodes(deleted_at=NOW)
    gone = report(removed=True)
    assert not deletions.is_removed(cluster, {})
    assert not deletions.is_removed(cluster, {"node-1": gone})
    assert not deletions.is_removed(cluster, {"node-1": gone, "node-2": report()})
    assert deletions.is_removed(cluster, {"node-1": gone, "node-2": gone})
    assert not deletions.is_removed(two_nodes(), {"node-1": gone, "node-2": gone}), "it is not deleted"


def test_the_notes_of_agents_become_events_with_the_ids_of_the_notes() -> None:
    cluster = bare_cluster("one", 10_000)
    note = ReportedNote(id=new_id(NOW), at=NOW, note=Note(what="restarted PostgreSQL"))
    (event,) = plans.events_of(cluster, [report(notes=(note,))], NOW)
    assert event == Event(
        id=note.id, at=NOW, note=note.note, cluster_id=cluster.id, cluster_name=cluster.name
    )
    later = NOW + KEPT_FOR + timedelta(seconds=1)
    assert plans.events_of(cluster, [report(notes=(note,))], later) == []


def test_an_event_is_written_once_and_not_again_after_it_was_pruned() -> None:
    def event(number: int) -> Event:
        return Event(id=f"{number:020x}", at=NOW, note=Note(what="changed"))

    assert plans.unwritten([event(1), event(2)], {event(1).id}) == [event(2)]
    full = {event(number).id for number in range(10, 10 + MOST_OF_A_CLUSTER)}
    assert plans.unwritten([event(9), event(10), event(5_000)], full) == [event(5_000)]
