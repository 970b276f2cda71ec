"""When a setting that waits for a restart gets one, and that no version changes one unnoticed."""

from __future__ import annotations

from dataclasses import replace as with_context
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from cenote.engine.plan import loaded, postgresql, restart
from cenote.model.changes import Change, Reload, Restart, Wait, WriteFile
from cenote.model.processes import Process
from cenote.model.records import Cluster, Configuration, MaintenanceWindow
from cenote.rules import restarts
from cenote.rules.restarts import Urgency
from tests.support import readers
from tests.support.wanted import CERTIFICATE, CLUSTER, PROCESS, WANTED, kinds

MONDAY = datetime(2026, 1, 5, 13, tzinfo=UTC)
OPEN, CLOSED = MaintenanceWindow(day="monday", hour="13:00"), MaintenanceWindow(day="friday", hour="13:00")

# What version 0.1 ran the smallest cluster with.
FORMER = {
    "archive_mode": "off",
    "cluster_name": "backend",
    "max_connections": "25",
    "max_replication_slots": "8",
    "max_wal_senders": "20",
}

# The settings that need a restart, of the smallest cluster.  Whoever changes one adds the former value to
# ``restarts._formerly`` if the setting depends on the size or the configuration, else nothing: then clusters
# that run with the former value are not restarted by an upgrade.
RESTART_ONLY = {
    "archive_mode": "always",
    "dynamic_shared_memory_type": "posix",
    "listen_addresses": "127.0.0.1",
    "max_connections": "69",
    "max_replication_slots": "32",
    "max_wal_senders": "40",
    "max_worker_processes": "8",
    "port": "25060",
    "shared_buffers": "256MB",
    "shared_preload_libraries": "",
    "superuser_reserved_connections": "3",
    "unix_socket_permissions": "0700",
    "wal_buffers": "4MB",
    "wal_level": "logical",
    "wal_log_hints": "off",
}

FILE = postgresql.configuration_file(WANTED)
OF_VERSION_0_1 = (
    b"# Written by Cenote; changes made here are undone.\ncluster_name = 'backend'\nport = '25060'\n"
)


def configured(cluster: Cluster = CLUSTER) -> dict[str, str]:
    context = with_context(WANTED, cluster=cluster)
    files = postgresql.configuration_files(context)
    return readers.postgresql(files[postgresql.configuration_file(context)].decode())


def planned(pending: dict[str, str], cluster: Cluster = CLUSTER) -> list[Change]:
    seen = restart.Seen(pending, "a digest", MONDAY - timedelta(days=1), MONDAY)
    return list(restart.plan(with_context(WANTED, cluster=cluster), seen))


def test_no_setting_that_needs_a_restart_has_changed() -> None:
    written = configured()
    assert {name: written[name] for name in RESTART_ONLY} == RESTART_ONLY
    assert written["cluster_name"] == str(CLUSTER.id)


def test_what_earlier_versions_set_waits_for_the_next_restart() -> None:
    assert set(restarts.urgencies(CLUSTER, FORMER).values()) == {Urgency.NEXT}
    assert planned(FORMER) == []
    assert planned(FORMER, replace(CLUSTER, maintenance_window=OPEN)) == []


def of_server(file: bytes, process: Process | None) -> list[Change]:
    """Return the plan for a server with such a file that nothing else is amiss with."""
    files = {**postgresql.configuration_files(WANTED), FILE: file}
    found = loaded.Loaded(process, "of version 0.1")
    return list(postgresql.plan(WANTED, postgresql.Seen(True, dict(files), CERTIFICATE, found, b"ready")))


def settings_in(changes: list[Change]) -> dict[str, str]:
    """Return the settings that a plan writes."""
    [content] = [one.content for one in changes if isinstance(one, WriteFile) and one.path == FILE]
    return readers.postgresql(content.decode())


def test_the_file_of_a_running_server_keeps_former_settings_until_it_restarts() -> None:
    changes = of_server(OF_VERSION_0_1, PROCESS)
    assert kinds(changes) == [WriteFile, Reload]
    assert settings_in(changes) == configured() | FORMER

    kept = postgresql.configuration_files(WANTED, former=True)[FILE]
    assert kinds(of_server(kept, PROCESS)) == [Reload]
    seen = restart.Seen({"shared_buffers": "1"}, "a digest", MONDAY, MONDAY, kept)
    due = list(restart.plan(WANTED, seen))
    assert kinds(due)[-3:] == [WriteFile, Restart, Wait]
    assert settings_in(due) == configured()


def test_a_server_that_is_down_starts_with_the_new_settings() -> None:
    assert settings_in(of_server(OF_VERSION_0_1, None)) == configured()


def test_a_file_that_somebody_has_changed_is_set_right_as_ever() -> None:
    edited = postgresql.configuration_files(WANTED)[FILE].replace(b"'always'", b"'off'")
    assert settings_in(of_server(edited, PROCESS)) == configured()


def test_a_restart_keeps_a_former_server_read_only() -> None:
    kept = postgresql.configuration_files(WANTED, former=True, read_only=True)[FILE]
    due = list(restart.changes(WANTED, "a digest", kept))
    assert settings_in(due)["default_transaction_read_only"] == "on"


@pytest.mark.parametrize(
    ("size", "chosen", "pending"),
    [
        ("db-s-1vcpu-2gb", {}, {"max_connections": "25", "shared_buffers": "32768"}),
        ("db-s-1vcpu-2gb", {}, {"max_connections": "69"}),
        ("db-s-1vcpu-1gb", {"max_connections": 30}, {"max_connections": "69"}),
        ("db-s-1vcpu-1gb", {"max_connections": 30}, {"max_connections": "25", "archive_mode": "off"}),
        ("db-s-1vcpu-1gb", {"max_wal_senders": 50}, {"max_wal_senders": "20"}),
        ("db-s-1vcpu-1gb", {"track_commit_timestamp": "on"}, {"track_commit_timestamp": "off"}),
    ],
)
def test_what_a_customer_changes_is_put_in_force_at_once(
    size: str, chosen: dict[str, Any], pending: dict[str, str]
) -> None:
    cluster = replace(CLUSTER, size=size, configuration=Configuration(postgresql=chosen))
    assert Urgency.NOW in restarts.urgencies(cluster, pending).values()
    assert kinds(planned(pending, cluster))[-2:] == [Restart, Wait]


def test_a_setting_that_a_customer_once_chose_is_still_what_it_was_for_an_upgrade() -> None:
    chosen = Configuration(postgresql={"max_connections": 30, "max_wal_senders": 30, "work_mem": 7})
    pending = {"max_connections": "30", "max_wal_senders": "30", "archive_mode": "off"}
    assert planned(pending, replace(CLUSTER, configuration=chosen)) == []


def test_another_address_waits_for_the_window_or_for_somebody_to_ask() -> None:
    pending = {"listen_addresses": "127.0.0.1", "archive_mode": "off"}
    assert restarts.urgencies(CLUSTER, pending)["listen_addresses"] is Urgency.WINDOW
    closed = replace(CLUSTER, maintenance_window=CLOSED)
    assert planned(pending, closed) == []
    assert Restart in kinds(planned(pending, replace(CLUSTER, maintenance_window=OPEN)))
    assert Restart in kinds(planned(pending, replace(closed, update_asked_at=MONDAY)))
    assert planned(pending, replace(closed, update_asked_at=MONDAY - timedelta(days=2))) == []


def test_no_customer_setting_is_below_what_every_server_has() -> None:
    least = Configuration(postgresql={"max_wal_senders": 20, "max_replication_slots": 8})
    assert (
        configured(replace(CLUSTER, configuration=least)).items()
        >= {
            "max_wal_senders": "40",
            "max_replication_slots": "32",
        }.items()
    )


def test_the_room_for_further_hosts_follows_what_pools_may_have_and_no_limit_follows_it() -> None:
    assert configured()["work_mem"] == "10MB"
    many = replace(
        CLUSTER, size="db-s-6vcpu-16gb", configuration=Configuration(postgresql={"max_connections": 1200})
    )
    assert configured(many)["max_connections"] == str(1200 + 2 * 997)


def test_there_is_no_room_where_the_memory_would_not_take_it() -> None:
    most = Configuration(postgresql={"max_connections": 100, "max_locks_per_transaction": 6400})
    assert configured(replace(CLUSTER, configuration=most))["max_connections"] == "100"
