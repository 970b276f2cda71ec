"""Changing the configuration of a cluster: what goes together, and what follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cenote import rules
from cenote.errors import Invalid
from cenote.model import catalog, parameters
from cenote.model.records import Cluster, Configuration, Pool, Value
from cenote.rules import configuration, failover_settings
from cenote.rules.configuration import HostCapabilities
from cenote.security.sealing import Sealer
from tests.support import records

HOST = HostCapabilities(8192, ("pg_stat_statements",), frozenset({"UTC", "Europe/Helsinki"}))


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return records.cluster(Sealer(tmp_path / "key"), port=25060, version="15")


def changed(cluster: Cluster, **given: Any) -> Cluster:
    return configuration.change(cluster, given, {}, HOST)


def refused(cluster: Cluster, around: HostCapabilities = HOST, **given: Any) -> str:
    with pytest.raises(Invalid) as refusal:
        configuration.change(cluster, given, {}, around)
    return refusal.value.message


def test_a_change_leaves_the_settings_that_it_does_not_name(cluster: Cluster) -> None:
    first = changed(cluster, work_mem=4, pgbouncer={"server_lifetime": 60}, cenote={"query_wait_timeout": 5})
    second = changed(first, jit=False, pgbouncer={"min_pool_size": 1})
    assert second.configuration == Configuration(
        postgresql={"work_mem": 4, "jit": False},
        pgbouncer={"server_lifetime": 60, "min_pool_size": 1},
        cenote={"query_wait_timeout": 5},
    )


def test_null_takes_a_setting_back(cluster: Cluster) -> None:
    first = changed(cluster, work_mem=4, jit=False, pgbouncer={"server_lifetime": 60})
    second = changed(
        first, work_mem=None, max_wal_senders=None, pgbouncer={"server_lifetime": None}, cenote=None
    )
    assert second.configuration == Configuration(postgresql={"jit": False})


def test_what_is_in_force_already_stays_unchosen_so_that_it_follows_the_size(cluster: Cluster) -> None:
    in_force = {"work_mem": 10, "max_connections": 25}
    after = configuration.change(cluster, {"work_mem": 10, "max_connections": 30}, in_force, HOST)
    assert after.configuration.postgresql == {"max_connections": 30}
    again = configuration.change(after, {"max_connections": 25}, in_force, HOST)
    assert again.configuration.postgresql == {"max_connections": 25}


def test_a_cluster_of_one_node_cannot_wait_for_a_standby_and_keeps_the_rest_for_more(
    cluster: Cluster,
) -> None:
    message = refused(cluster, HOST, synchronous_replication="quorum")
    assert message.startswith("synchronous_replication: quorum needs a standby")
    assert "synchronous_replication" not in configuration.effective_settings(cluster, {})
    after = changed(cluster, synchronous_replication="off", max_failover_replication_time_lag=60)
    chosen: dict[str, Value] = {"synchronous_replication": "off", "max_failover_replication_time_lag": 60}
    assert after.configuration == Configuration(failover=chosen)
    assert configuration.effective_settings(after, {}).items() >= chosen.items()
    assert not failover_settings.waits_for_standby(after)


def test_several_nodes_wait_for_a_standby_unless_told_not_to(cluster: Cluster) -> None:
    [node] = cluster.nodes
    several = replace(cluster, nodes=(node, replace(node, name="node-2")))
    defaults = parameters.FAILOVER_DEFAULTS
    assert configuration.effective_settings(several, {}).items() >= defaults.items()
    same = changed(several, **defaults)
    assert same.configuration == Configuration()
    assert failover_settings.waits_for_standby(same)
    assert not failover_settings.waits_for_standby(changed(several, synchronous_replication="off"))
    assert failover_settings.seconds(changed(several, max_failover_replication_time_lag=60)) == 60
    assert "9 is out of range: 10 to 86400" in refused(several, HOST, max_failover_replication_time_lag=9)


def test_what_a_client_of_all_engines_sends_along_is_passed_over(cluster: Cluster) -> None:
    after = changed(cluster, work_mem=4, **parameters.OF_OTHER_ENGINES)
    assert after.configuration == Configuration(postgresql={"work_mem": 4})


@pytest.mark.parametrize("value", ["available", None, ["local"]])
def test_it_is_refused_with_any_other_value(cluster: Cluster, value: Any) -> None:
    message = refused(cluster, HOST, default_read_concern=value)
    assert message.startswith("config: 'default_read_concern' is not a setting")


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"nothing": 1}, "config: 'nothing' is not a setting"),
    ({"port": 5432}, "config: 'port' is not a setting"),
    ({"a\nb": 1}, r"config: 'a\nb' is not a setting"),
    ({"pgbouncer": {"listen_port": 1}}, "pgbouncer: 'listen_port' is not a setting"),
    ({"pgbouncer": {"query_wait_timeout": 1}}, "pgbouncer: 'query_wait_timeout' is not a setting"),
    ({"pgbouncer": [1]}, "pgbouncer: must be an object."),
    ({"cenote": "x"}, "cenote: must be an object."),
    ({"cenote": {"x": 1}}, "cenote: 'x' is not a setting"),
    ({"timezone": "Mars/Olympus"}, "timezone: 'Mars/Olympus' is not a time zone"),
    ({"max_connections": 101}, "max_connections: 101 is too large: size db-s-1vcpu-1gb takes up to 100."),
    (
        {"max_parallel_workers": 9, "max_worker_processes": 8},
        "max_parallel_workers: 9 is more than max_worker_processes (8); raise that as well.",
    ),
    ({"pgbouncer": {"autodb_pool_size": 23}}, "autodb_pool_size: 23 is too large: 22 of 22"),
    (
        {"max_prepared_transactions": 10_000, "max_locks_per_transaction": 640},
        "max_locks_per_transaction, max_prepared_transactions,",
    ),
]


@pytest.mark.parametrize(("given", "beginning"), REFUSALS)
def test_what_does_not_go_together_is_refused(
    cluster: Cluster, given: dict[str, Any], beginning: str
) -> None:
    assert refused(cluster, **given).startswith(beginning)


def test_a_setting_of_a_newer_postgresql_is_refused(cluster: Cluster) -> None:
    old = replace(cluster, version="13")
    assert "requires PostgreSQL 14 or later" in refused(old, default_toast_compression="lz4")


def test_a_setting_of_a_library_that_is_not_there_is_refused(cluster: Cluster) -> None:
    without = replace_libraries(())
    assert "pg_stat_statements, which is not installed" in refused(
        cluster, without, **{"pg_stat_statements.track": "all"}
    )


def replace_libraries(libraries: tuple[str, ...]) -> HostCapabilities:
    return HostCapabilities(HOST.memory_mib, libraries, HOST.time_zones)


@pytest.mark.parametrize("after", [0, None])
def test_what_prepared_transactions_need_is_never_lowered(cluster: Cluster, after: int | None) -> None:
    first = changed(cluster, max_prepared_transactions=5)
    message = refused(first, max_prepared_transactions=after)
    assert message == "max_prepared_transactions: was raised to 5 and can't be lowered again."
    assert changed(first, max_prepared_transactions=6)


def test_fewer_connections_leave_less_for_pools(cluster: Cluster) -> None:
    big = replace(cluster, size="db-s-1vcpu-2gb")
    assert configuration.pool_capacity(big) == 47
    small = changed(big, max_connections=30)
    assert configuration.pool_capacity(small) == 27
    full = rules.add_pool(big, Pool(name="all", database="defaultdb", size=47))
    assert refused(full, max_connections=30) == (
        "the 1 pools of this cluster need 47 connections; with size db-s-1vcpu-2gb and 30 connections in "
        "total, 27 are for pools; shrink pools first."
    )
    assert rules.unallocated_connections(changed(big, max_connections=60)) == (57, 57)


def test_without_a_choice_a_server_takes_the_connections_of_its_size(cluster: Cluster) -> None:
    for slug, size in catalog.SIZES.items():
        sized = replace(cluster, size=slug)
        assert configuration.max_connections(sized) == catalog.pool_capacity(size) + 3


def test_a_large_size_is_set_up_for_the_memory_that_the_machine_has(cluster: Cluster) -> None:
    large = replace(cluster, size="gd-16vcpu-64gb")
    assert configuration.shared_buffers_mib(large, 8192) == 2048
    assert configuration.shared_buffers_mib(changed(large, shared_buffers_percentage=40.5), 8192) == 3317


def test_settings_are_shown_as_they_were_chosen_and_the_others_as_they_are_in_force(cluster: Cluster) -> None:
    shown = configuration.effective_settings(
        changed(cluster, work_mem=4, pgbouncer={"server_lifetime": 60}), {"work_mem": "2048 kB", "jit": "on"}
    )
    assert {name: value for name, value in shown.items() if name not in ("pgbouncer", "cenote")} == {
        "jit": True,
        "shared_buffers_percentage": 25.0,
        "work_mem": 4,
    }
    assert shown["pgbouncer"] == parameters.POOLER_DEFAULTS | {"server_lifetime": 60}
    assert shown["cenote"] == parameters.EXTENSION_DEFAULTS
