"""Which format a record is written in, and who has to be able to read it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from cenote.errors import Busy
from cenote.model.fleet_records import Host
from cenote.model.migrations import MigrationSource, OnlineMigration
from cenote.model.records import (
    BackupPlan,
    Cluster,
    Configuration,
    Keep,
    Move,
    Node,
    Rehearsal,
    RestartTurn,
    Restoration,
    Switchover,
)
from cenote.rules import record_formats
from cenote.rules.record_formats import HIGHEST
from cenote.store.encoding import decode, encode, format_of
from tests.support.etcd import bare_cluster

AT = datetime(2026, 1, 2, tzinfo=UTC)
ONE = Node(name="node-1", host="a", port=10_000, pool_port=10_001)
TWO = Node(name="node-2", host="b", port=10_000, pool_port=10_001)
CLUSTER = replace(bare_cluster("one", 10_000), nodes=(ONE,))
FORMER = {  # the fields of a cluster that every version which reads format 2 knows
    *("id", "name", "version", "size", "region", "created_at", "storage_mib", "project_id", "assigned_at"),
    *("private_network_id", "authority", "nodes", "users", "databases", "removing", "pools", "tags"),
    *("firewall", "server_names", "service_names", "maintenance_window", "update_asked_at"),
    *("configuration", "autoscale", "sinks", "deleted_at"),
}


def host(name: str, reads: int) -> Host:
    return Host(
        id=f"id of {name}",
        name=name,
        address="h",
        memory_mib=1,
        cpus=1,
        versions={},
        first_port=1,
        last_port=2,
        reads=reads,
        cenote_version="0.1.0",
    )


def test_a_cluster_that_was_never_moved_is_written_as_before() -> None:
    assert format_of(encode(CLUSTER)) == 2
    assert format_of(encode(host("db-1", 3))) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"nodes": (ONE, TWO), "move": Move(source="node-1", target="node-2", asked_at=AT), "last_node": 2},
        {"left": (TWO,)},
        {"last_node": 2},
        {"nodes": (replace(ONE, lost_at=AT),)},
    ],
)
def test_what_an_earlier_version_would_lose_is_written_in_a_format_that_it_does_not_read(
    change: dict[str, Any],
) -> None:
    cluster = replace(CLUSTER, **change)
    value = encode(cluster)
    assert format_of(value) == 3
    assert decode("clusters/x", value, msgspec.json.Decoder(Cluster)) == cluster


def test_a_protected_cluster_is_not_written_by_a_version_that_would_lose_that() -> None:
    value = encode(replace(CLUSTER, delete_protection=True, left=(TWO,)))
    assert format_of(value) == 4
    for days in (0, 3):
        assert format_of(encode(replace(CLUSTER, undelete_days=days))) == 4


def test_a_cluster_that_is_restored_is_not_written_by_a_version_that_would_make_it_empty() -> None:
    restoration = Restoration(node="node-1", source=CLUSTER.id, asked_at=AT)
    assert format_of(encode(replace(CLUSTER, restoration=restoration, delete_protection=True))) == 5


def test_an_online_migration_is_written_in_a_format_that_earlier_versions_do_not_read() -> None:
    source = MigrationSource(host="h", port=1, dbname="d", username="u", sealed_password="")
    migration = OnlineMigration(id=CLUSTER.id, source=source, asked_at=AT)
    assert format_of(encode(replace(CLUSTER, online_migration=migration))) == record_formats.WITH_MIGRATIONS


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"nodes": (ONE, TWO)}, id="nodes"),
        pytest.param({"nodes": (replace(ONE, replaces="node-2"),)}, id="replaces"),
        pytest.param({"distinct_hosts": True}, id="distinct_hosts"),
        pytest.param({"failover_login": "sealed"}, id="failover_login"),
        pytest.param({"rehearsal_of": CLUSTER.id}, id="rehearsal_of"),
        pytest.param({"rehearsal": Rehearsal(version="17", asked_at=AT, fork=CLUSTER.id)}, id="rehearsal"),
        pytest.param(
            {"configuration": Configuration(failover={"synchronous_replication": "off"})}, id="failover"
        ),
        pytest.param(
            {"switchover": Switchover(source="node-1", target="node-2", asked_at=AT, until=AT)},
            id="switchover",
        ),
        pytest.param({"replica_of": CLUSTER.id}, id="replica_of"),
        pytest.param({"copies": 2}, id="copies"),
        pytest.param({"promote_asked_at": AT}, id="promote_asked_at"),
        pytest.param({"restart_turn": RestartTurn(node="node-2", since=AT)}, id="restart_turn"),
    ],
)
def test_what_is_said_of_several_nodes_is_written_in_a_format_of_its_own(change: dict[str, Any]) -> None:
    assert format_of(encode(replace(CLUSTER, **change))) == record_formats.WITH_NODES
    with pytest.raises(Busy, match="knows nothing of clusters of several nodes"):
        record_formats.check_readers([host("db-1", 5)], record_formats.WITH_NODES)


def test_every_further_field_of_a_cluster_asks_for_a_format() -> None:
    """A field that is added has to be thought of in ``record_formats``, and then here."""
    assert set(Cluster.__struct_fields__) - FORMER == {
        *("move", "left", "last_node"),
        *("backups", "delete_protection", "undelete_days", "keep", "undeletion"),
        *("restoration", "major_upgrade", "online_migration"),
        *("restoration", "distinct_hosts", "switchover", "restart_turn", "primary", "failover_login"),
        *("rehearsal", "rehearsal_of", "copies", "promote_asked_at", "replica_of"),
    }


@pytest.mark.parametrize(
    "change",
    [
        {"restoration": Restoration(node="node-1", source=CLUSTER.id, asked_at=CLUSTER.created_at)},
        {"backups": BackupPlan(sealed_passphrase="x", lineage="20260101T000000Z-0123abcd")},
        {"keep": Keep(until=CLUSTER.created_at, backed_up=True)},
    ],
    ids=["restored", "recovered", "deleted, with backups"],
)
def test_what_is_restored_from_backups_is_written_in_a_format_of_its_own(change: dict[str, Any]) -> None:
    cluster = replace(CLUSTER, **change)
    value = encode(cluster)
    assert format_of(value) == 5
    assert decode("clusters/x", value, msgspec.json.Decoder(Cluster)) == cluster


@pytest.mark.parametrize("mark", ["../../etc", "20260101T000000Z-0123abcd\n", "$(id)", "x"], ids=repr)
def test_a_mark_of_a_repository_becomes_part_of_a_script_so_it_is_checked(mark: str) -> None:
    value = encode(replace(CLUSTER, backups=BackupPlan(sealed_passphrase="x", lineage=mark)))
    with pytest.raises(msgspec.ValidationError):
        decode("clusters/x", value, msgspec.json.Decoder(Cluster))


def test_a_host_that_cannot_read_a_format_is_named() -> None:
    record_formats.check_readers([])
    record_formats.check_readers([host("db-1", 3), host("db-2", HIGHEST + 1)])
    with pytest.raises(Busy, match=r"^db-2 runs an earlier Cenote \(0\.1\.0\), .* Upgrade it first\.$"):
        record_formats.check_readers([host("db-1", HIGHEST), host("db-3", 0), host("db-2", 2)])
