"""The alert rules, tested with promtool: each fires when it should, and not before."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.prometheus import MONITORING, promtool

RULES: dict[str, Any] = {
    rule["alert"]: rule
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
DAY = 24 * 60  # minutes


@dataclass(frozen=True)
class Case:
    """Series that a minute each has a value of; ``quiet`` are those with which nothing is wrong."""

    fires: dict[str, str]
    quiet: dict[str, str]
    labels: dict[str, str]
    summary: str
    minutes: int = 30


def series(name: str, labels: dict[str, str]) -> str:
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def health_of(health: str) -> str:
    return series("cenote_cluster_health", ONE | {"health": health})


ONE = {"cluster": "shop", "host": "db-1", "node": "node-1"}
HOST = {"host": "db-1"}
API = HOST | {"job": "cenote", "instance": "a"}  # as each API tells it
POOL = ONE | {"pool": "web"}
DATABASE = ONE | {"database": "orders"}
SLOT = ONE | {"slot": "copy"}
CASES = {
    "CenotePoolClientsWait": Case(
        {series("cenote_pool_longest_wait_seconds", POOL): "0 0 2.5x30"},
        {series("cenote_pool_longest_wait_seconds", POOL): "0.5x30"},
        POOL,
        "Clients of pool web of shop waited up to 2.5s",
    ),
    "CenotePoolerDown": Case(
        {series("cenote_pooler_up", ONE): "1 0x30"},
        {series("cenote_pooler_up", ONE): "1x30"},
        ONE,
        "PgBouncer of shop does not answer",
    ),
    "CenoteServerDown": Case(
        {series("cenote_server_up", ONE): "1 0x30"},
        {series("cenote_server_up", ONE): "1x30"},
        ONE,
        "PostgreSQL of shop does not answer",
    ),
    "CenoteConnectionsNearlyUsedUp": Case(
        {
            series("cenote_server_connections", ONE | {"state": "active"}): "10x30",
            series("cenote_server_connections", ONE | {"state": "idle"}): "10x30",
            series("cenote_server_connections_allowed", ONE): "22x30",
        },
        {
            series("cenote_server_connections", ONE | {"state": "idle"}): "18x30",
            series("cenote_server_connections_allowed", ONE): "22x30",
        },
        ONE,
        "shop uses 90.91% of its connections",
    ),
    "CenoteLongTransaction": Case(
        {series("cenote_server_longest_transaction_seconds", ONE): "7200x30"},
        {series("cenote_server_longest_transaction_seconds", ONE): "3000x30"},
        ONE,
        "A transaction in shop has been open for 2h 0m 0s",
    ),
    "CenoteLocksWaitedFor": Case(
        {series("cenote_server_connections_waiting_for_locks", ONE): "8x30"},
        {series("cenote_server_connections_waiting_for_locks", ONE): "5x30"},
        ONE,
        "8 connections of shop wait for locks",
    ),
    "CenoteDeadlocksRising": Case(
        {series("cenote_database_deadlocks_total", DATABASE): "0+1x30"},
        {series("cenote_database_deadlocks_total", DATABASE): "70x30"},
        DATABASE,
        "15 deadlocks in orders of shop in 15 minutes",
    ),
    "CenoteCacheHitLow": Case(
        {
            series("cenote_database_blocks_hit_total", DATABASE): "0+12000x60",
            series("cenote_database_blocks_read_total", DATABASE): "0+12000x60",
        },
        {  # all is read, and hardly anything is
            series("cenote_database_blocks_hit_total", DATABASE): "0x60",
            series("cenote_database_blocks_read_total", DATABASE): "0+60x60",
        },
        {"cluster": "shop", "database": "orders"},
        "orders of shop finds only 50% of its blocks in the buffer cache",
        60,
    ),
    "CenoteTransactionIdsOld": Case(
        {series("cenote_database_transaction_id_age", DATABASE): "1500000000x30"},
        {series("cenote_database_transaction_id_age", DATABASE): "200000000x30"},
        DATABASE,
        "The transaction ids of orders of shop are 1.5G old",
    ),
    "CenoteReplicationSlotUnread": Case(
        {
            series("cenote_server_replication_slot_active", SLOT): "0x30",
            series("cenote_server_replication_slot_retained_bytes", SLOT): "2000000000x30",
        },
        {
            series("cenote_server_replication_slot_active", SLOT): "1x30",
            series("cenote_server_replication_slot_retained_bytes", SLOT): "2000000000x30",
        },
        SLOT,
        "Replication slot copy of shop is inactive and retains write-ahead log",
    ),
    "CenoteStandbyMissing": Case(
        {series("cenote_standbys_missing", ONE): "1x30"},
        {series("cenote_standbys_missing", ONE): "0x30"},
        ONE,
        "1 of the standbys of shop do not follow its primary",
    ),
    "CenoteNoStandby": Case(
        {
            series("cenote_quorum_standbys", ONE): "0x30",
            series("cenote_standbys_missing", ONE): "2x30",
        },
        {
            series("cenote_quorum_standbys", ONE): "0x30",
            series("cenote_standbys_missing", ONE): "1x30",
            series("cenote_standby_lag_bytes", ONE | {"node": "node-3"}): "0x30",
        },
        ONE,
        "No standby of shop could take over",
    ),
    "CenoteNoQuorum": Case(
        {series("cenote_quorum_standbys", ONE): "1 0x30"},
        {series("cenote_quorum_standbys", ONE): "1x30"},
        ONE,
        "No commit of shop waits for a standby",
    ),
    "CenoteFailoversOften": Case(
        {series("cenote_server_timeline", ONE): "1 2 3 4x30"},
        {series("cenote_server_timeline", ONE): "1 3x30"},
        {"cluster": "shop"},
        "Another node of shop began to take writes 3 times within an hour",
    ),
    "CenotePoolsHeldLong": Case(
        {series("cenote_pools_held_seconds", ONE): "0.2x10 14x20"},
        {series("cenote_pools_held_seconds", ONE): "0.2x10 0.4x20"},
        ONE,
        "Clients of pools of shop waited for 14s until another node took writes",
        minutes=20,
    ),
    "CenoteMajorUpgradeFailed": Case(
        {series("cenote_major_upgrade_failed", ONE): "0 0 1x30"},
        {series("cenote_major_upgrade_failed", ONE): "1x90"},
        ONE,
        "shop was not upgraded to another major version",
    ),
    "CenoteMajorUpgraded": Case(
        {series("cenote_major_upgrade_held_seconds", ONE): "0x20 4.5x10"},
        {series("cenote_major_upgrade_held_seconds", ONE): "4.5x30"},
        ONE,
        "shop was upgraded to another major version, with 4.5 s without a server",
    ),
    "CenoteMajorUpgradeSlow": Case(
        {series("cenote_major_upgrade", ONE | {"stage": "running"}): "1x90"},
        {series("cenote_major_upgrade", ONE | {"stage": "running"}): "1x5 _x90"},
        {"cluster": "shop"},
        "shop has been being upgraded to another major version for an hour",
        minutes=70,
    ),
    "CenoteOnlineMigrationFailed": Case(
        {series("cenote_online_migration", ONE | {"status": "error"}): "0x10 1x20"},
        {series("cenote_online_migration", ONE | {"status": "error"}): "1x90"},
        ONE | {"status": "error"},
        "The online migration into shop has failed",
    ),
    "CenoteOnlineMigrationInTrouble": Case(
        {series("cenote_online_migration_in_trouble", ONE): "0 1x30"},
        {series("cenote_online_migration_in_trouble", ONE): "0 1x10 0x30"},
        ONE,
        "The online migration into shop is held up",
    ),
    "CenoteOnlineMigrationLagging": Case(
        {series("cenote_online_migration_lag_seconds", DATABASE): "900x30"},
        {series("cenote_online_migration_lag_seconds", DATABASE): "500x30"},
        DATABASE,
        "orders of shop is 15m 0s behind the source of its migration",
    ),
    "CenoteReplicaLagging": Case(
        {
            series("cenote_replica_lag_bytes", ONE): "134217728x30",
            series("cenote_replica_lag_seconds", ONE): "400x30",
        },
        {
            series("cenote_replica_lag_bytes", ONE): "134217728x30",
            series("cenote_replica_lag_seconds", ONE): "10x30",
        },
        ONE,
        "Read replica shop is 128MiB behind its source",
    ),
    "CenoteReplicaNotFollowing": Case(
        {series("cenote_replica_streaming", ONE): "1 0x30"},
        {series("cenote_replica_streaming", ONE): "1x30"},
        ONE,
        "Read replica shop does not follow its source",
    ),
    "CenoteStandbyLagging": Case(
        {
            series("cenote_standby_lag_bytes", ONE): "134217728x30",
            series("cenote_standby_lag_seconds", ONE): "60x30",
        },
        {
            series("cenote_standby_lag_bytes", ONE): "134217728x30",
            series("cenote_standby_lag_seconds", ONE): "1x30",
        },
        ONE,
        "node-1 of shop is 128MiB behind the primary",
    ),
    "CenotePrimaryChanged": Case(
        {series("cenote_node_primary", ONE): "0x20 1x10"},
        {series("cenote_node_primary", ONE): "1x30"},
        {"cluster": "shop"},
        "Another node of shop takes writes",
    ),
    "CenoteStorageNearlyFull": Case(
        {
            series("cenote_storage_used_bytes", ONE): "95x30",
            series("cenote_storage_size_bytes", ONE): "100x30",
        },
        {
            series("cenote_storage_used_bytes", ONE): "85x30",
            series("cenote_storage_size_bytes", ONE): "100x30",
        },
        ONE,
        "shop uses 95% of its storage",
    ),
    "CenoteStorageFullInADay": Case(
        {
            series("cenote_storage_used_bytes", ONE): f"30+0.06x{DAY}",
            series("cenote_storage_size_bytes", ONE): f"100x{DAY}",
        },
        {
            series("cenote_storage_used_bytes", ONE): f"60+0.001x{DAY}",
            series("cenote_storage_size_bytes", ONE): f"100x{DAY}",
        },
        ONE,
        "shop will run out of storage within a day",
        10 * 60,
    ),
    "CenoteScrapeFails": Case(
        {'up{job="cenote-clusters",instance="shop"}': "1 0x30"},
        {'up{job="cenote-clusters",instance="shop"}': "1x30", 'up{job="another",instance="x"}': "0x30"},
        {"job": "cenote-clusters", "instance": "shop"},
        "The metrics of shop cannot be scraped",
    ),
    "CenoteClusterNotServing": Case(
        {health_of("healthy"): "1 1 0x30", health_of("degraded"): "0x32", health_of("down"): "0 0 1x30"},
        {health_of("healthy"): "1 0x30", health_of("degraded"): "0 1x30", health_of("down"): "0x31"},
        ONE,
        "shop is not seen to serve",
    ),
    "CenoteClusterDegraded": Case(
        {health_of("healthy"): "1 0x30", health_of("degraded"): "0 1x30"},
        {health_of("healthy"): "1x30", health_of("degraded"): "0x30"},
        ONE,
        "shop serves, but not as it should",
    ),
    "CenoteClusterFailing": Case(
        {series("cenote_cluster_failing", ONE): "1x30"},
        {series("cenote_cluster_failing", ONE): "0x30"},
        ONE,
        "A change to shop cannot be applied",
    ),
    "CenoteAgentBehind": Case(
        {series("cenote_agent_behind_seconds", API): "600x30"},
        {series("cenote_agent_behind_seconds", API): "20x30"},
        HOST,
        "The agent of db-1 has not finished its work on a cluster for 10m 0s",
    ),
    "CenoteAgentFails": Case(
        {series("cenote_agent_passes_total", API | {"outcome": "failed"}): "0+2x30"},
        {series("cenote_agent_passes_total", API | {"outcome": "done"}): "0+200x30"},
        HOST,
        "The agent of db-1 has failed 30 times in 15 minutes",
    ),
    "CenoteAgentAway": Case(
        {series("cenote_agent_up", API): "1 0x30", series("cenote_host_up", API): "1x31"},
        {  # one API reaches it
            series("cenote_agent_up", API): "0x30",
            series("cenote_agent_up", API | {"instance": "b"}): "1x30",
            series("cenote_host_up", API): "1x30",
        },
        HOST,
        "The agent of db-1 does not answer, so no statistics and logs can be read",
    ),
    "CenoteHostDown": Case(
        {
            series("cenote_host_up", API): "1 0x30",
            series("cenote_host_up", API | {"instance": "b"}): "1 0x30",
        },
        {series("cenote_host_up", API): "0x30", series("cenote_host_up", API | {"instance": "b"}): "1x30"},
        HOST,
        "db-1 is down, or its agent is",
    ),
    "CenoteHostNodesUnknown": Case(
        {series("cenote_host_unknown_nodes", API): "2x30"},
        {series("cenote_host_unknown_nodes", API): "0x30"},
        HOST,
        "db-1 runs 2 nodes that are in no record",
    ),
    "CenoteServiceBackupOld": Case(
        {series("cenote_host_service_backup_timestamp_seconds", API): f"0x{2 * DAY}"},
        {series("cenote_host_service_backup_timestamp_seconds", API): f"0+60x{2 * DAY}"},
        HOST,
        "The newest automatic backup of the service by db-1 is older than 36 hours",
        minutes=2 * DAY,
    ),
    "CenoteNotArchived": Case(
        {series("cenote_backup_unarchived", ONE): "1x30"},
        {series("cenote_backup_unarchived", ONE): "0x30"},
        ONE,
        "The WAL of shop is not archived",
    ),
    "CenoteBackupOld": Case(  # the clock of a test begins with the epoch
        {series("cenote_backup_last_timestamp_seconds", ONE): f"60x{4 * DAY}"},
        {series("cenote_backup_last_timestamp_seconds", ONE): f"{2 * 86400}x{4 * DAY}"},
        ONE,
        "The last backup of shop is 2d 23h 59m 0s old",
        3 * DAY,
    ),
    "CenoteRestoreDrillFailed": Case(
        {series("cenote_backup_drill_failed", ONE): "1x30"},
        {series("cenote_backup_drill_failed", ONE): "0x30"},
        ONE,
        "A restore drill found that the last backup of shop is not good",
    ),
    "CenoteRestoreDrillOld": Case(
        {series("cenote_backup_drill_timestamp_seconds", ONE): f"60x{17 * DAY}"},
        {series("cenote_backup_drill_timestamp_seconds", ONE): f"{2 * 86400}x{17 * DAY}"},
        ONE,
        "The last restore drill of shop is 15d 23h 59m 0s old",
        16 * DAY,
    ),
    "CenoteNoBackup": Case(
        {series("cenote_backup_last_timestamp_seconds", ONE): f"0x{DAY}"},
        {series("cenote_backup_last_timestamp_seconds", ONE): f"60x{DAY}"},
        ONE,
        "shop has no backup",
        DAY,
    ),
    "CenoteHostVersionsDiffer": Case(
        {
            series("cenote_host_info", HOST | {"version": "1.0"}): f"1x{2 * DAY}",
            series("cenote_host_info", {"host": "db-2", "version": "1.1"}): f"1x{2 * DAY}",
        },
        {
            series("cenote_host_info", HOST | {"version": "1.0"}): f"1x{2 * DAY}",
            series("cenote_host_info", {"host": "db-2", "version": "1.0"}): f"1x{2 * DAY}",
        },
        {},
        "The hosts have had 2 versions of Cenote for a day",
        2 * DAY,
    ),
    "CenoteStoreMemberAway": Case(
        {
            'cenote_store_members_up{job="cenote"}': "3 2x30",
            'cenote_store_voters{job="cenote"}': "3x31",
        },
        {
            'cenote_store_members_up{job="cenote"}': "3x30",
            'cenote_store_voters{job="cenote"}': "3x30",
        },
        {"job": "cenote"},
        "2 members of the store answer; if another is lost, nothing can be changed",
    ),
    "CenoteStoreAway": Case(
        {'cenote_store_connected{job="cenote"}': "0x30"},
        {'cenote_store_connected{job="cenote"}': "1x30"},
        {"job": "cenote"},
        "etcd does not answer, so nothing can be changed",
    ),
    "CenoteApiErrors": Case(
        {
            'cenote_api_requests_total{status="200"}': "0+60x30",
            'cenote_api_requests_total{status="503"}': "0+20x30",
        },
        {
            'cenote_api_requests_total{status="200"}': "0+60x30",
            'cenote_api_requests_total{status="404"}': "0+60x30",
        },
        {},
        "25% of the API's responses are server errors (5xx)",
    ),
    "CenoteFileDescriptorsNearlyUsedUp": Case(
        {'process_open_fds{job="cenote"}': "900x30", 'process_max_fds{job="cenote"}': "1000x30"},
        {'process_open_fds{job="other"}': "900x30", 'process_max_fds{job="other"}': "1000x30"},
        {"job": "cenote"},
        "The service uses 90% of its file descriptors",
    ),
    "CenoteCertificateNotValid": Case(
        {series("cenote_cluster_certificate_valid", ONE): "0x30"},
        {series("cenote_cluster_certificate_valid", ONE): "1x30", "cenote_api_certificate_valid": "1x30"},
        ONE,
        "A certificate of shop is not valid now",
    ),
    "CenoteCertificateExpires": Case(  # the clock of a test begins with the epoch
        {series("cenote_cluster_certificate_expiry_timestamp_seconds", ONE): f"{10 * 86400 + 1800}x30"},
        {
            series("cenote_cluster_certificate_expiry_timestamp_seconds", ONE): f"{30 * 86400}x30",
            "cenote_api_certificate_expiry_timestamp_seconds": f"{30 * 86400}x30",
        },
        ONE,
        "A certificate of shop expires in 10d 0h 0m 0s",
    ),
}


def test_promtool_accepts_the_rules() -> None:
    done = promtool("check", "rules", str(MONITORING / "alerts.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def check(name: str, tests: list[dict[str, Any]], folder: Path) -> None:
    """Test one rule alone: some tests last for weeks, and all rules would be evaluated in each minute."""
    rules, file = folder / "rules.yml", folder / "tests.yml"
    rules.write_text(json.dumps({"groups": [{"name": name, "rules": [RULES[name]]}]}))
    file.write_text(json.dumps({"rule_files": [str(rules)], "tests": tests}))
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_a_summary_and_a_runbook() -> None:
    assert CASES.keys() == RULES.keys()
    for name, rule in RULES.items():
        assert rule["labels"]["severity"] in ("info", "warning", "critical"), name
        assert rule["annotations"].keys() == {"summary", "runbook"}, name


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_only_then(name: str, tmp_path: Path) -> None:
    case, rule = CASES[name], RULES[name]
    expected = {
        "exp_labels": case.labels | rule["labels"],
        "exp_annotations": {"summary": case.summary, "runbook": rule["annotations"]["runbook"]},
    }
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": one, "values": values} for one, values in given.items()],
            "alert_rule_test": [
                {"eval_time": f"{case.minutes}m", "alertname": name, "exp_alerts": alerts},
            ],
        }
        for given, alerts in ((case.fires, [expected]), (case.quiet, []))
    ]
    check(name, tests, tmp_path)


def test_there_is_an_alert_for_the_certificate_of_the_api(tmp_path: Path) -> None:
    name = "CenoteCertificateExpires"
    expected = {
        "exp_labels": {"job": "cenote", "severity": "warning"},
        "exp_annotations": {
            "summary": "A certificate of the API expires in 1d 0h 0m 0s",
            "runbook": RULES[name]["annotations"]["runbook"],
        },
    }
    given = {
        "series": 'cenote_api_certificate_expiry_timestamp_seconds{job="cenote"}',
        "values": f"{86400 + 600}x10",
    }
    alerts = [{"eval_time": "10m", "alertname": name, "exp_alerts": [expected]}]
    check(name, [{"interval": "1m", "input_series": [given], "alert_rule_test": alerts}], tmp_path)


def test_the_metrics_that_a_runbook_names_exist() -> None:
    from cenote.metrics import cluster_metrics, service_metrics

    known = {family.name for family in (*cluster_metrics.FAMILIES, *service_metrics.FAMILIES)}
    for name, rule in RULES.items():
        assert set(re.findall(r"cenote_\w+", rule["annotations"]["runbook"])) <= known, name
