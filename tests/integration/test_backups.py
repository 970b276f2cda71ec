"""Backups by real pgBackRest: made by a service, restored by hand, and a repository that cannot be used."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from cenote.conf import pgbackrest
from cenote.metrics import backup_metrics
from cenote.model.paths import Layout
from cenote.rules import sizing
from cenote.server import installation
from cenote.server.settings import ServeSettings
from tests.support.backups import SECONDS, Kept, as_servers
from tests.support.clocks import Clock
from tests.support.folders import server_folder
from tests.support.pgbackrest import FOUND, NEEDS_PGBACKREST, version
from tests.support.ports import free_range, give_back
from tests.support.service import calling, online_cluster, service
from tests.support.waiting import wait_until

pytestmark = NEEDS_PGBACKREST


@pytest.fixture(scope="module")
def kept() -> Iterator[Kept]:
    with server_folder() as folder:
        options = (f"--backups=file://{folder}/repository", "--backup-days=3")
        with service(*options, clusters=8) as running, running.client() as client:
            cluster: Any = online_cluster(client, "one", version=version())
            yield Kept(running, folder / "repository", client, cluster)


def test_a_new_cluster_is_backed_up_at_once(kept: Kept) -> None:
    wait_until("the first backup is made", SECONDS, lambda: kept.backups() is not None)
    found = kept.backups()
    [backup] = found["backups"]
    assert backup["incremental"] is False
    assert backup["cenote"]["type"] == "full"
    assert backup["size_gigabytes"] > 0.001
    assert re.fullmatch(r"[0-9-]{10}T[0-9:]{8}Z", backup["created_at"])
    assert found["cenote"]["repository"] == f"file://{kept.repository}"
    assert found["cenote"]["days"] == 3
    assert found["cenote"]["restorable_from"] == backup["created_at"]
    assert found["cenote"]["failure"] == ""
    assert set(found["scheduled_backup_time"]) == {"backup_hour", "backup_minute", "backup_interval_hours"}
    assert kept.health() == ("healthy", "")
    with calling(kept.running) as http:
        page = http.get("/metrics").text
    exposed = set(re.findall(r'^(cenote_backup_\w+)\{cluster="one"', page, re.MULTILINE))
    assert exposed == {family.name for family in backup_metrics.FAMILIES}


def test_secrets_are_for_the_servers_alone(kept: Kept) -> None:
    found = kept.paths.backup_configuration.stat()
    assert found.st_mode & 0o777 == 0o600
    assert found.st_uid == installation.server_account(ServeSettings()).user_id
    [passphrase] = [
        line.partition("=")[2]
        for line in kept.paths.backup_configuration.read_text().splitlines()
        if line.startswith("repo1-cipher-pass=")
    ]
    assert len(passphrase) > 40
    assert passphrase not in kept.running.log()
    plain = [
        path for path in kept.repository.rglob("*") if path.is_file() and b"PG_VERSION" in path.read_bytes()
    ]
    assert plain == []  # all of it is encrypted


def test_wal_is_archived_and_a_restore_by_hand_has_the_rows(kept: Kept) -> None:
    wait_until("the first backup is made", SECONDS, lambda: kept.backups() is not None)
    with psycopg.connect(kept.uri, autocommit=True) as connection:
        connection.execute("CREATE TABLE parts AS SELECT generate_series(1, 42) AS id")
    segment = kept.switch()
    wait_until("the segment is archived", SECONDS, lambda: kept.has(segment))
    with server_folder() as folder:
        data, port = folder / "restored", free_range(1)
        assert FOUND.pgbackrest is not None
        account = installation.server_account(ServeSettings())
        if account.owner is not None:
            os.chown(folder, *account.owner)
        done = as_servers(
            FOUND.pgbackrest.path,
            f"--config={kept.paths.backup_configuration}",
            f"--stanza={kept.id}",
            f"--pg1-path={data}",
            "--archive-mode=off",
            "restore",
        )
        assert done.returncode == 0, done.stderr
        control = FOUND.postgres[version()].bin / "pg_ctl"
        options = f"-p {port} -c listen_addresses= -c unix_socket_directories={folder} -c ssl=off"
        start = as_servers(
            *(control, "-D", data, "-w", "-t", str(SECONDS), "-l", folder / "log", "-o", options, "start")
        )
        try:
            assert start.returncode == 0, (folder / "log").read_text()
            with psycopg.connect(
                host=str(folder), port=port, user="postgres", dbname="defaultdb", autocommit=True
            ) as connection:
                ended = "SELECT NOT pg_is_in_recovery()"
                wait_until(
                    "all is replayed", SECONDS, lambda: connection.execute(ended).fetchone() == (True,)
                )
                assert connection.execute("SELECT count(*) FROM parts").fetchone() == (42,)
        finally:
            as_servers(control, "-D", data, "-m", "immediate", "stop")
            give_back(port, 1)


def test_a_backup_is_made_when_it_is_asked_for(kept: Kept) -> None:
    own = kept.with_cluster("asked")
    kept.running.cenote("backup", "now", "asked", "--wait")
    found = json.loads(kept.running.cenote("backup", "list", "asked", "-o", "json"))
    assert [backup["cenote"]["type"] for backup in found] == ["full", "diff"]
    assert found[-1]["incremental"] is True
    said = kept.running.run("backup", "list", "asked")
    assert "DURATION (S)" in said.stdout
    assert re.search(r"^Restorable: from \S+Z to \S+Z$", said.stderr, re.MULTILINE)
    assert re.search(r"^Next backup: \S+Z$", said.stderr, re.MULTILINE)
    kept.running.cenote("backup", "now", "asked", "--wait")
    assert own.types() == ["full", "diff"]  # the one that was just made stands for it


def test_a_drill_restores_the_newest_backup_and_says_what_it_found(kept: Kept) -> None:
    own = kept.with_cluster("drilled")
    said = kept.running.run("backup", "drill", "drilled")
    assert said.returncode == 0, said.stderr
    assert "was restored, and nothing was wrong" in said.stdout + said.stderr
    assert re.search("^(restoring|replaying|checking|verifying) ", said.stderr, re.MULTILINE)
    result = own.backups()["cenote"]["drill"]
    assert (result["check"], result["failure"]) == ("", "")
    assert result["label"] == own.backups()["backups"][-1]["cenote"]["label"]
    assert result["seconds"] > 0
    assert own.backups()["cenote"]["next_drill_at"] > result["ended_at"]
    assert "Last restore drill: " in kept.running.run("backup", "list", "drilled").stderr
    assert not own.paths.drill.exists()
    folder = own.repository / "backup" / own.id / result["label"]
    stored = max(folder.rglob("*.zst"), key=lambda path: path.stat().st_size)
    stored.write_bytes(b"")
    said = kept.running.run("backup", "drill", "drilled")
    assert said.returncode == 1
    assert "is not good: restore: " in said.stderr
    with calling(kept.running) as http:
        page = http.get("/metrics").text
    assert re.search(r'^cenote_backup_drill_failed\{cluster="drilled".*\} 1(\.0)?$', page, re.MULTILINE)


def test_a_repository_that_takes_nothing_costs_backups_and_no_query(kept: Kept) -> None:
    kept = kept.with_cluster("refused")
    archive = kept.repository / "archive" / kept.id
    [folder] = [path for path in archive.iterdir() if path.is_dir()]
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("in the way")
    try:
        kept.switch()
        wait_until("it is degraded", SECONDS, lambda: kept.health()[0] == "degraded")
        assert kept.health()[1].startswith("not archived since 20")
        assert " UTC: " in kept.health()[1]
        assert kept.backups()["cenote"]["unarchived"] == kept.health()[1]
        with psycopg.connect(kept.uri, autocommit=True) as connection:
            connection.execute("CREATE TABLE meanwhile AS SELECT 1")
        kept.client.databases.create_backup(kept.id)
        wait_until("the failure is told", SECONDS, lambda: kept.backups()["cenote"]["failure"] != "")
    finally:
        folder.unlink()
        aside.rename(folder)
    kept.switch()
    wait_until("it is healthy", SECONDS, lambda: kept.health() == ("healthy", ""))
    wait_until("the backup is made after all", SECONDS, lambda: kept.backups()["cenote"]["failure"] == "")


def test_backups_that_are_not_there_any_more_are_told_and_no_new_place_is_made(kept: Kept) -> None:
    own = kept.with_cluster("unmounted")
    folders = [own.repository / kind / own.id for kind in ("archive", "backup")]
    for folder in folders:
        folder.rename(folder.with_name("away"))
    try:
        own.client.databases.create_backup(own.id)
        wait_until("it is told", SECONDS, lambda: "is it mounted?" in own.backups()["cenote"]["failure"])
        assert not any(folder.exists() for folder in folders)
    finally:
        for folder in folders:
            folder.with_name("away").rename(folder)
    own.switch()
    wait_until("it is backed up", SECONDS, lambda: own.types() == ["full", "diff"])
    assert own.backups()["cenote"]["failure"] == ""


def test_wal_beyond_the_queue_is_dropped_told_as_a_gap_and_followed_by_a_full_backup(kept: Kept) -> None:
    kept = kept.with_cluster("dropping")
    archive = kept.repository / "archive" / kept.id
    [folder] = [path for path in archive.iterdir() if path.is_dir()]
    kept.switch()
    wait_until("all is archived", SECONDS, lambda: kept.health() == ("healthy", ""))
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("in the way")
    first_lost = datetime.now(UTC)
    segments = sizing.archive_queue_mib(kept.cluster["storage_size_mib"]) // 16 + 3
    try:
        for _ in range(segments):
            kept.switch()
        wait_until("the gap is told", SECONDS, lambda: kept.backups()["cenote"]["gap_at"])
        assert kept.health()[0] == "degraded"  # though the server takes what was dropped for archived
    finally:
        folder.unlink()
        aside.rename(folder)
    kept.switch()

    def newest() -> Any:
        return kept.backups()["backups"][-1]["cenote"]

    def is_followed() -> bool:
        gap_at = kept.backups()["cenote"]["gap_at"]
        return bool(newest()["type"] == "full" and newest()["started_at"] >= gap_at)

    wait_until("a full backup is made", SECONDS, is_followed)
    wait_until("it is healthy", SECONDS, lambda: kept.health() == ("healthy", ""))
    # While the first of them began, segments may still have been dropped; then another one follows.
    gap = kept.paths.backup_state / pgbackrest.GAP
    wait_until("the gap is covered", SECONDS, lambda: not gap.exists())
    assert kept.backups()["cenote"]["gap_at"]  # still shown, since moments before it can be asked for
    before, after = kept.backups()["cenote"]["restorable"]
    made = [backup["created_at"] for backup in kept.backups()["backups"]]
    assert made[0] <= before["until"] <= f"{first_lost:%Y-%m-%dT%H:%M:%SZ}"  # and not until it was dropped
    assert after["since"] in made[1:]


def test_the_doctor_asks_the_repository(kept: Kept) -> None:
    wait_until("it was asked", SECONDS, lambda: (kept.running.data_dir / "pgbackrest").is_dir())
    assert "ok       the repository for backups answers" in kept.running.run("doctor").stdout


def test_what_is_older_than_the_days_expires_with_its_wal_and_the_last_full_one_before_them_stays(
    kept: Kept,
) -> None:
    own = kept.with_cluster("expiring")
    lost = own.switch()
    wait_until("WAL is archived", SECONDS, lambda: own.has(lost))
    assert FOUND.pgbackrest is not None
    command = (FOUND.pgbackrest.path, f"--config={own.paths.backup_configuration}", f"--stanza={own.id}")
    second = as_servers(*command, "--type=full", "backup", cwd=own.paths.backup_state)
    assert second.returncode == 0, second.stderr
    held = own.switch()
    wait_until("WAL is archived", SECONDS, lambda: own.has(held))

    def labels() -> list[str]:
        told = json.loads(as_servers(*command, "--output=json", "info").stdout)
        return [backup["label"] for backup in told[0]["backup"]]

    first, last = labels()
    with server_folder() as folder:
        clock = Clock(folder)
        for ahead, left in ((timedelta(days=2), [first, last]), (timedelta(days=4), [last])):
            clock.set(ahead)
            shifted = [f"{name}={value}" for name, value in clock.environment.items()]
            done = as_servers("env", *shifted, *command, "expire", cwd=own.paths.backup_state)
            assert done.returncode == 0, done.stderr
            assert labels() == left
            assert own.has(lost) is (first in left)
            assert own.has(held)


def test_a_service_that_starts_again_knows_its_backups_and_ends_no_server(kept: Kept) -> None:
    wait_until("the first backup is made", SECONDS, lambda: kept.backups() is not None)
    before, servers = kept.backups()["backups"], kept.running.servers()["PostgreSQL"]
    kept.running.end()
    kept.running.start()
    assert kept.backups()["backups"][: len(before)] == before
    assert kept.running.servers()["PostgreSQL"] == servers


def test_the_backups_of_a_cluster_that_can_be_undeleted_stay_in_the_repository(kept: Kept) -> None:
    other: Any = online_cluster(kept.client, "two", version=version())
    folder = kept.repository / "backup" / other["id"]
    wait_until("it is backed up", SECONDS, lambda: (folder / "latest").is_symlink())
    kept.client.databases.destroy_cluster(other["id"])
    paths = Layout(kept.running.data_dir).cluster(UUID(other["id"]))
    wait_until("it is removed", SECONDS, lambda: not paths.root.exists())
    assert (folder / "latest").is_symlink()
