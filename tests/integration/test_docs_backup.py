"""The drills of docs/backup.md, on a service whose databases run on meanwhile."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cenote_client import BusyError
from tests.support import shell
from tests.support.folders import server_folder
from tests.support.pages import ROOT, blocks
from tests.support.service import (
    CENOTE,
    Service,
    added_pool,
    answer_of,
    clean_environment,
    online_cluster,
    service,
    tried,
)
from tests.support.waiting import wait_until

BLOCKS = {block.title: block.text for block in blocks("backup.md")}
PROGRAMS = ROOT / "build" / "programs" / "usr" / "bin"
PATH = f"{PROGRAMS}:{Path(CENOTE).parent}:{os.environ['PATH']}"


@pytest.fixture
def copies() -> Iterator[Path]:
    with server_folder() as folder:
        yield folder


def do(title: str, running: Service, copies: Path, **variables: str) -> None:
    """Run a block in its place; systemd's part is played by the test."""
    lines = [line for line in BLOCKS[title].splitlines() if not line.startswith("systemctl")]
    script = (
        "\n".join(lines)
        .replace("/var/lib/cenote", str(running.data_dir))
        .replace("/srv/cenote", str(copies / "moved"))
    )
    script = placed(script, copies)
    done = subprocess.run(
        ["bash", "-ec", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=clean_environment() | {"PATH": PATH} | shell.at(running) | variables,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def placed(text: str, copies: Path) -> str:
    """Return a text of the page with the places of this test."""
    return text.replace("/srv/copies", str(copies)).replace("/root/passphrase", str(copies / "passphrase"))


def with_rows(cluster: Any) -> None:
    with psycopg.connect(cluster["connection"]["uri"]) as connection:
        connection.execute("CREATE TABLE parts AS SELECT generate_series(1, 42) AS id")


def test_what_was_dropped_by_mistake_is_in_a_fork(copies: Path) -> None:
    with service(f"--backups=file://{copies}/repository") as running, running.client() as client:
        cluster = online_cluster(client, "backend")

        def is_backed_up() -> bool:
            with contextlib.suppress(BusyError):
                return bool(client.databases.list_backups(cluster["id"])["backups"])
            return False

        wait_until("the first backup is made", 120, is_backed_up)
        with_rows(cluster)
        time.sleep(1.1)
        moment = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        time.sleep(1.1)
        with psycopg.connect(cluster["connection"]["uri"]) as connection:
            connection.execute("DROP TABLE parts")
        do("fork to a moment", running, copies, moment=moment)
        [fork] = [one for one in client.databases.iter_clusters() if one["name"] == "rescued"]
        assert answer_of(fork["connection"]["uri"], "SELECT count(*) FROM parts") == 42


def test_records_come_back_from_their_backup_and_the_clusters_never_stop(copies: Path) -> None:
    with service() as running, running.client() as client:
        cluster = online_cluster(client, "backend")
        pool = added_pool(client, cluster["id"], "backend-pool")["connection"]["uri"]
        with_rows(cluster)
        do("back up the service", running, copies)
        shell.type_in(placed(BLOCKS["look into it"], copies), copies, **shell.at(running))
        later = online_cluster(client, "later")["connection"]["uri"]
        client.request("POST", f"/v2/databases/{cluster['id']}/dbs", json={"name": "since"})
        key = (running.data_dir / "ca.key").read_bytes()
        (running.data_dir / "ca.key").unlink()
        do("restore a file", running, copies)
        assert (running.data_dir / "ca.key").read_bytes() == key
        with psycopg.connect(pool, autocommit=True) as connected:
            running.end()
            for name in ("host.json", "ca.crt", "ca.key", "admin-token"):
                (running.data_dir / name).unlink()
            for folder in ("api", "keys"):
                shutil.rmtree(running.data_dir / folder)
            do("restore the records", running, copies)
            running.start()
            assert connected.execute("SELECT count(*) FROM parts").fetchone() == (42,)
        with running.client() as again:
            assert [each["name"] for each in again.databases.iter_clusters()] == ["backend"]
            found = again.request("GET", f"/v2/databases/{cluster['id']}")["database"]
            assert found["connection"] == cluster["connection"]
            there = f"/v2/databases/{cluster['id']}/dbs"
            wait_until(
                "the later database is in the records again",
                60,
                lambda: {"name": "since"} in again.request("GET", there)["dbs"],
            )
            kept = "SELECT count(*) = 1 FROM pg_database WHERE datname = 'since'"
            assert answer_of(found["connection"]["uri"], kept)
            added_pool(again, cluster["id"], "another-pool")
        assert answer_of(later) == 42


def test_a_service_goes_on_from_another_machine(copies: Path) -> None:
    with service() as running:
        with running.client() as client:
            cluster = online_cluster(client, "backend")
        do("back up the service", running, copies)
        running.stop()
        new = Service(copies / "moved", f"--ports={running.first_port}-{running.api_port - 1}")
        try:
            do("restore on another machine", new, copies)
            subprocess.run(["cp", "-a", running.data_dir / "clusters", new.data_dir], check=True)
            new.start()
            uri = cluster["connection"]["uri"]
            wait_until("the cluster answers", 60, lambda: tried(uri) == 42)
        finally:
            new.stop()


def test_a_dump_of_one_cluster_is_restored_into_another(copies: Path) -> None:
    with service() as running, running.client() as client:
        with_rows(online_cluster(client, "backend"))
        do("copy the data", running, copies)
        assert (copies / "backend-defaultdb.dump").exists()
        client.request("DELETE", f"/v2/databases/{next(client.databases.iter_clusters())['id']}")
        cluster = online_cluster(client, "backend")
        BLOCKS["both"] = variables(BLOCKS["copy the data"]) + BLOCKS["restore the data"]
        do("both", running, copies)
        assert answer_of(cluster["connection"]["uri"], "SELECT count(*) FROM parts") == 42


def variables(text: str) -> str:
    """Return what the first block says before it dumps."""
    return text[: text.index("for name")]


def test_a_service_goes_on_from_another_disk(copies: Path) -> None:
    with service() as running:
        with running.client() as client:
            cluster = online_cluster(client, "backend")
        with_rows(cluster)
        running.end()
        do("move", running, copies)
        moved = Service(copies / "moved", f"--ports={running.first_port}-{running.api_port - 1}")
        try:
            moved.start()
            uri = cluster["connection"]["uri"]
            ask = "SELECT count(*) FROM parts"
            wait_until("the cluster answers", 60, lambda: tried(uri, ask) == 42)
        finally:
            moved.stop()


def test_every_block_of_the_page_is_run() -> None:
    assert {
        *("fork to a moment", "back up the service", "look into it", "restore the records", "restore a file"),
        *("restore on another machine", "copy the data", "restore the data", "move"),
    } == {block.title for block in blocks("backup.md")}
