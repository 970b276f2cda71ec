"""A service that starts on a store or a disk that is not what it was: no server stops, none is made anew."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from cenote.host import trash
from cenote.model.paths import Layout
from cenote.model.trash import TrashNote
from cenote.store import Store
from cenote_client import Client
from tests.integration.test_serve_etcd import options, with_outside
from tests.support.folders import server_folder
from tests.support.outside import PASSWORD, Outside
from tests.support.service import Service, answer_of, online, online_cluster, run_cenote, service
from tests.support.waiting import wait_until

SECONDS = 60


def uri(cluster: Any) -> str:
    return str(cluster["connection"]["uri"])


def keep(cluster: Any, value: int) -> None:
    with psycopg.connect(uri(cluster), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT %s::int AS value", (value,))


def kept(cluster: Any) -> Any:
    with psycopg.connect(uri(cluster), connect_timeout=60) as connection:
        row = connection.execute("SELECT value FROM kept").fetchone()
        return None if row is None else row[0]


def folder(running: Service, cluster: Any) -> Path:
    return running.data_dir / "clusters" / str(cluster["id"])


def reason(client: Client, cluster: Any) -> str:
    found = client.request("GET", f"/v2/databases/{cluster['id']}")["database"]["cenote"]
    return f"{found['health']}: {found['reason']}"


def postmaster(running: Service, id: str) -> str:
    return (running.data_dir / "clusters" / id / "pg" / "postmaster.pid").read_text().splitlines()[0]


def unknown(running: Service) -> list[Any]:
    found: list[Any] = json.loads(running.cenote("host", "unknown", "list", "-o", "json"))
    return found


def test_with_last_weeks_copy_of_the_store_nothing_stops_and_nothing_is_made_anew() -> None:
    with service("--undelete-days=0") as running, running.client() as client:
        layout = Layout(running.data_dir)
        old = online_cluster(client, "old")
        gone = online_cluster(client, "gone")
        keep(old, 1)
        running.stop()
        shutil.copytree(layout.etcd, running.data_dir / "last-week")
        running.start()
        new = online_cluster(client, "new")
        keep(new, 2)
        online(client, old["id"])
        client.request("DELETE", f"/v2/databases/{gone['id']}")
        wait_until("it is gone", SECONDS, lambda: not folder(running, gone).exists())
        pids = {one["id"]: postmaster(running, one["id"]) for one in (old, new)}

        running.end(signal.SIGKILL)
        stop_etcd(running)
        shutil.rmtree(layout.etcd)
        (running.data_dir / "last-week").rename(layout.etcd)
        running.start()

        # What was made since is unknown: it runs on, and is told everywhere.
        found = wait_until("it is told", SECONDS, lambda: unknown(running))
        assert [(one["cluster"], one["node"]) for one in found] == [(new["id"], "node-1")]
        assert kept(new) == 2
        online(client, old["id"])
        assert kept(old) == 1
        assert pids == {one["id"]: postmaster(running, one["id"]) for one in (old, new)}
        assert f"cluster {new['id']}, node-1: the store has neither" in running.cenote("doctor")
        [host] = wait_until(
            "the API says so",
            SECONDS,
            lambda: [one for one in client.request("GET", "/v2/cenote/hosts")["hosts"] if one["unknown"]],
        )
        assert host["unknown"] == [f"{new['id']}/node-1"]

        # What was deleted since is in its record again, and not made anew.
        wait_until("its data is missing", SECONDS, lambda: "directory is missing" in reason(client, gone))
        assert reason(client, gone).startswith("down: ")
        assert not (folder(running, gone) / "pg").exists()

        # An operator has the last word.
        running.cenote("host", "unknown", "remove", new["id"], "--yes")
        assert unknown(running) == []
        assert not folder(running, new).exists()
        [entry] = trash.entries(layout)
        [listed] = json.loads(running.cenote("host", "trash", "list", "-o", "json"))
        assert listed["name"] == entry.name
        assert "removed by command" in listed["why"]
        running.cenote("host", "trash", "empty", "--yes")
        assert trash.entries(layout) == []
        assert kept(old) == 1


def test_with_an_unmounted_disk_nothing_is_made_anew_and_all_goes_on_when_it_is_back() -> None:
    with service() as running, running.client() as client:
        cluster = online_cluster(client, "backend")
        keep(cluster, 3)
        running.stop()
        clusters, away = running.data_dir / "clusters", running.data_dir / "unmounted"
        clusters.rename(away)
        running.start()
        wait_until("it is missing", SECONDS, lambda: "directory is missing" in reason(client, cluster))
        assert reason(client, cluster).startswith("down: its data directory is missing")
        assert not (folder(running, cluster) / "pg").exists()

        # What is made on the mount point meanwhile is hidden by the mount.
        clusters.rename(running.data_dir / "mount-point")
        away.rename(clusters)
        online(client, cluster["id"])
        assert kept(cluster) == 3


def test_a_cluster_that_was_deleted_while_its_host_was_away_is_kept_in_the_trash() -> None:
    def scenario(outside: Outside) -> None:
        environment = {"CENOTE_ETCD_PASSWORD": PASSWORD}
        with service(*options(outside), "--name=db-1", environment=environment) as running:
            layout = Layout(running.data_dir)
            with running.client() as client:
                late, forgotten = online_cluster(client, "late"), online_cluster(client, "forgotten")
                other = online_cluster(client, "other")
            keep(late, 4)
            running.end(signal.SIGKILL)  # its servers go on, as behind a cut cable
            asyncio.run(deleted_long_ago(outside, UUID(late["id"]), UUID(forgotten["id"])))
            assert kept(late) == 4
            running.start()
            folders = [folder(running, cluster) for cluster in (late, forgotten)]
            wait_until("they are gone", SECONDS, lambda: not any(path.exists() for path in folders))
            notes = wait_until("both are in the trash", SECONDS, lambda: notes_of(layout, 2))
            assert {note.name for note in notes} == {"late", "forgotten"}
            assert all("was deleted" in note.why for note in notes)
            assert answer_of(uri(other)) == 42
            with pytest.raises(psycopg.OperationalError):
                answer_of(uri(late))
            with running.client() as client:
                used = client.request("GET", "/v2/cenote/hosts")["hosts"][0]["ports"]["claimed"]
                assert used == 3, "the ports of the deleted ones are free"

    with_outside(scenario)


def notes_of(layout: Layout, number: int) -> list[TrashNote]:
    notes = [entry.note for entry in trash.entries(layout) if entry.note is not None]
    return notes if len(notes) == number else []


async def deleted_long_ago(outside: Outside, late: UUID, forgotten: UUID) -> None:
    """Two deletions by another host: one is waiting for this host, the other was given up for it."""
    client = outside.client()
    store = Store(client)
    try:
        await store.open()
        await store.delete_cluster(late, datetime.now(UTC) - timedelta(days=7))
        await store.forget_cluster(forgotten)
    finally:
        await store.close()
        await client.close()


def test_with_an_empty_prefix_a_service_does_not_start_and_its_servers_go_on() -> None:
    def scenario(outside: Outside) -> None:
        environment = {"CENOTE_ETCD_PASSWORD": PASSWORD}
        with service(*options(outside), environment=environment) as running:
            with running.client() as client:
                cluster = online_cluster(client, "backend")
            keep(cluster, 6)
            before = running.servers()
            running.end(signal.SIGKILL)
            done = running.run("serve", "--port=0", "--etcd-prefix=/mistyped/", *options(outside))
            assert done.returncode == 1
            assert "this store is empty" in done.stderr
            assert kept(cluster) == 6
            running.start()
            assert running.servers() == before

    with_outside(scenario)


def test_a_host_whose_data_directory_is_empty_does_not_start_as_a_new_one() -> None:
    def scenario(outside: Outside) -> None:
        environment = {"CENOTE_ETCD_PASSWORD": PASSWORD}
        with (
            server_folder() as place,
            service(*options(outside), "--name=db-1", environment=environment) as running,
        ):
            with running.client() as client:
                cluster = online_cluster(client, "backend")
            keep(cluster, 5)
            running.end(signal.SIGKILL)
            empty = place / "mount-point"
            done = run_cenote(
                *("serve", f"--data-dir={empty}", "--port=0", "--name=db-1"),
                *options(outside),
                CENOTE_ETCD_PASSWORD=PASSWORD,
            )
            assert done.returncode == 1
            assert "is its disk mounted?" in done.stderr
            assert not (empty / "host.json").exists()
            assert kept(cluster) == 5
            running.start()
            with running.client() as client:
                online(client, cluster["id"])

    with_outside(scenario)


def stop_etcd(running: Service) -> None:
    pid = running.servers().get("etcd")
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        wait_until("etcd has ended", SECONDS, lambda: "etcd" not in running.servers())
