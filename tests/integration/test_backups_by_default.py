"""Backups as a service makes them that nobody has told where: below its data directory."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Any

import psycopg
import pytest

from cenote_client import BusyError
from tests.support.backups import SECONDS, Kept
from tests.support.folders import server_folder
from tests.support.pgbackrest import FOUND, NEEDS_PGBACKREST, version
from tests.support.replicas import added
from tests.support.service import CENOTE, SMALLEST, calling, ephemeral, online_cluster, service
from tests.support.ssh_server import PROGRAMS
from tests.support.waiting import wait_until

SEVENTEEN = PROGRAMS / "postgresql-17/usr/lib/postgresql/17/bin"

pytestmark = NEEDS_PGBACKREST


def test_a_service_that_nobody_has_told_where_keeps_backups_and_says_that_they_are_on_the_same_disk() -> None:
    with service(backups_by_default=True, clusters=1) as running, running.client() as client:
        cluster: Any = online_cluster(client, "one", version=version())
        place = running.data_dir / "backups"
        kept = Kept(running, place, client, cluster)
        found = wait_until("it is backed up", SECONDS, kept.backups)
        assert (place / "backup" / kept.id / "latest").is_symlink()
        segment = kept.switch()
        wait_until("WAL is archived", SECONDS, lambda: kept.has(segment))
        assert kept.health() == ("healthy", "")
        assert "the disk of the data" in found["cenote"]["warning"]
        [host] = json.loads(running.cenote("host", "list", "-o", "json"))
        assert host["backups"] == {
            "repository": f"file://{place}",
            "days": 7,
            "default": True,
            "warning": found["cenote"]["warning"],
            "problem": "",
        }
        doctor = running.run("doctor").stdout
        assert f"notice   backups are kept in {place}: what is lost with the disk" in doctor
        assert "ok       the repository for backups answers, and can be written to" in doctor
        assert "Warning: backups are kept in" in running.run("backup", "list", "one").stderr
        assert not (place / "cenote-check").exists()
        with calling(running) as http:
            page = http.get("/metrics").text
        [size] = re.findall(r'^cenote_backup_archive_bytes{cluster="one",.*} (.*)$', page, re.MULTILINE)
        assert float(size) > 1000


def test_the_first_backup_of_a_promoted_replica_fails_at_no_former_timeline() -> None:
    with service(backups_by_default=True, clusters=2) as running, running.client() as client:
        source: Any = online_cluster(client, "source", version=version())
        replica = added(client, source, "heir")
        with psycopg.connect(source["connection"]["uri"]) as connection:  # a checkpoint by itself takes long
            connection.execute("CREATE TABLE facts AS SELECT repeat('x', 999) FROM generate_series(1, 60000)")
        client.request("PUT", f"/v2/databases/{source['id']}/replicas/heir/promote")
        seen: set[tuple[str, str]] = set()

        def is_backed_up() -> bool:
            told = client.request("GET", f"/v2/databases/{replica['id']}")["database"]["cenote"]
            backups = told.get("backups", {})
            seen.add((told["health"], backups.get("failure", "")))
            return bool(backups.get("count"))

        wait_until("it is backed up", SECONDS, is_backed_up)
        assert not [failure for _, failure in seen if "timeline" in failure], seen


def without_pgbackrest() -> tuple[str, ...]:
    """The beginning of the command line of a service that has no pgBackRest."""
    if os.geteuid() != 0:
        pytest.skip("hiding pgBackRest takes root")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this root may not make mount namespaces")
    assert FOUND.pgbackrest is not None
    hide = f'mount --bind /dev/null {FOUND.pgbackrest.path} && exec "$0" "$@"'
    return ("/usr/bin/unshare", "--mount", "sh", "-c", hide, CENOTE)


@pytest.mark.parametrize("asked", [False, True], ids=["by default", "asked for"])
def test_without_pgbackrest_only_backups_that_were_asked_for_degrade_a_cluster(asked: bool) -> None:
    with (
        server_folder() as folder,
        service(
            *([f"--backups=file://{folder}/repository"] if asked else []),
            backups_by_default=True,
            clusters=1,
            command=without_pgbackrest(),
        ) as running,
        running.client() as client,
    ):
        body = {**SMALLEST, "name": "one", "version": version()}
        id = client.request("POST", "/v2/databases", json=body)["database"]["id"]

        def seen() -> Any:
            return client.request("GET", f"/v2/databases/{id}")["database"]

        def impossible() -> str:
            with pytest.raises(BusyError) as refused:
                client.databases.list_backups(id)
            return str(refused.value)

        why = "pgBackRest is not installed on its host"
        wait_until("the reason is shown", SECONDS, lambda: why in impossible())
        wait_until("it is online", SECONDS, lambda: seen()["status"] == "online")
        if asked:
            wait_until("it is degraded", SECONDS, lambda: seen()["cenote"]["reason"] == f"no backups: {why}")
            assert seen()["cenote"]["health"] == "degraded"
        else:
            assert (seen()["cenote"]["health"], seen()["cenote"]["reason"]) == ("healthy", "")
        with calling(running) as http:
            page = http.get("/metrics").text
        expected = rf'^cenote_backup_failing{{cluster="one",.*}} {int(asked)}'
        assert re.search(expected, page, re.MULTILINE)
        [host] = json.loads(running.cenote("host", "list", "-o", "json"))
        assert "pgBackRest 2.45 or newer not found" in host["backups"]["problem"]
        assert host["backups"]["default"] is not asked
        assert "pgBackRest 2.45 or newer not found" in running.log()


def test_an_ephemeral_service_makes_none() -> None:
    with server_folder() as folder, ephemeral(folder):
        wait_until("it serves", SECONDS, lambda: "Cenote serves" in (folder / "log").read_text())
        assert not list(folder.glob("**/backups"))
        assert not list(folder.glob("**/pgbackrest"))


@pytest.mark.skipif(
    not (SEVENTEEN / "postgres").exists() or not (PROGRAMS / "trixie").is_dir(),
    reason="needs PostgreSQL 17: make setup-tests",
)
def test_postgresql_17_is_backed_up_by_a_pgbackrest_that_reads_it() -> None:
    newer = {"PATH": f"{PROGRAMS / 'trixie/usr/bin'}:{os.environ['PATH']}"}
    given = f"--postgres-dir={SEVENTEEN.parent}"
    with (
        service(given, backups_by_default=True, clusters=1, environment=newer) as running,
        running.client() as client,
    ):
        cluster: Any = online_cluster(client, "one", version="17")
        kept = Kept(running, running.data_dir / "backups", client, cluster)
        wait_until("it is backed up", SECONDS, kept.backups)
        segment = kept.switch()
        wait_until("WAL is archived", SECONDS, lambda: kept.has(segment))
        assert kept.health() == ("healthy", "")
