"""When a service begins with backups, at its start, and what keeps it from that."""

from __future__ import annotations

import shutil
from uuid import UUID

import pytest

from cenote.model.paths import Layout, NodePaths
from cenote_client import BusyError, InvalidError
from tests.support.backups import SECONDS, Kept
from tests.support.folders import server_folder
from tests.support.pgbackrest import NEEDS_PGBACKREST, version
from tests.support.service import SMALLEST, Service, calling, online_cluster, service
from tests.support.waiting import wait_until

pytestmark = NEEDS_PGBACKREST


def test_a_service_without_the_option_has_nothing_of_backups() -> None:
    with service(clusters=1) as running, running.client() as client:
        cluster = online_cluster(client, "one")
        paths = Layout(running.data_dir).cluster(UUID(cluster["id"]))
        assert not paths.backups.exists()
        assert not (running.data_dir / "pgbackrest").exists()
        assert "archive_command = 'true'" in (NodePaths(paths, "node-1").data / "postgresql.conf").read_text()
        with pytest.raises(InvalidError, match="with --backups none"):
            client.databases.list_backups(cluster["id"])
        with pytest.raises(InvalidError, match="with --backups none"):
            client.databases.create_backup(cluster["id"])


def test_a_service_gets_backups_with_its_next_start() -> None:
    with server_folder() as folder, service(clusters=1) as running, running.client() as client:
        cluster = online_cluster(client, "one", version=version())
        server = running.servers()["PostgreSQL"]
        running.end()
        running.add_options(f"--backups=file://{folder}/repository")
        running.start()
        latest = folder / "repository" / "backup" / cluster["id"] / "latest"
        wait_until("it is backed up", SECONDS, latest.is_symlink)
        assert running.servers()["PostgreSQL"] == server  # archive_mode was on, so nothing is restarted


def test_after_a_time_without_backups_a_full_one_is_made() -> None:
    with (
        server_folder() as folder,
        service(f"--backups=file://{folder}/repository", clusters=1) as running,
        running.client() as client,
    ):
        own = Kept(running, folder / "repository", client, {}).with_cluster("one")
        assert own.types() == ["full"]
        running.end()
        running.add_options("--backups=none")
        running.start()
        wait_until("it is healthy", SECONDS, lambda: own.health() == ("healthy", ""))
        wait_until("pgBackRest's files are gone", SECONDS, lambda: not own.paths.backups.exists())
        with calling(running) as http:
            assert "cenote_backup_failing{" not in http.get("/metrics").text
        lost = own.switch()
        running.end()
        running.add_options(f"--backups=file://{folder}/repository")
        running.start()
        wait_until("a full one is made", SECONDS, lambda: own.types() == ["full", "full"])
        assert own.backups()["cenote"]["gap_at"]
        assert not own.has(lost)
        segment = own.switch()
        wait_until("WAL is archived again", SECONDS, lambda: own.has(segment))


def test_a_repository_that_cannot_be_used_is_named_at_the_start() -> None:
    with server_folder() as folder:
        (folder / "file").write_text("no folder")
        with service(f"--backups=file://{folder}/file/repository", clusters=1) as running:
            wait_until("it is said", SECONDS, lambda: "cannot be used" in running.log())
            with running.client() as client:
                body = {**SMALLEST, "name": "one"}
                cluster = client.request("POST", "/v2/databases", json=body)["database"]
                wait_until(
                    "it is online",
                    SECONDS,
                    lambda: client.databases.get_cluster(cluster["id"])["database"]["status"] == "online",
                )
                with pytest.raises(BusyError, match="no backup yet"):
                    client.databases.list_backups(cluster["id"])


def test_a_url_that_is_none_of_a_repository_ends_the_start() -> None:
    with server_folder() as folder:
        created = Service(folder / "data", "--backups=ftp://host/x")
        created.data_dir.mkdir()
        try:
            assert created.launch().wait(timeout=60) != 0
            assert "--backups: it must be none, or a URL such as" in created.log()
        finally:
            created.clean_up()
            shutil.rmtree(created.data_dir)
