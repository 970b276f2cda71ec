"""The commands of docs/trash.md, on a host that was away while its cluster was deleted."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from cenote.host import programs, trash
from cenote.model.paths import Layout
from cenote.store import Store
from tests.support import shell
from tests.support.folders import server_folder
from tests.support.pages import blocks
from tests.support.service import Service, clean_environment, online_cluster, service
from tests.support.waiting import wait_until

PAGE = blocks("trash.md")
LISTS, UNKNOWN = [block.text for block in PAGE if block.language == "console"]
[BY_HAND] = [block.text for block in PAGE if block.title == "start from the trash"]


async def given_up(running: Service, id: str) -> None:
    """The cluster is deleted and nobody waits for this host."""
    async with running.etcd_client() as client:
        store = Store(client)
        await store.open()
        try:
            await store.forget_cluster(UUID(id))
        finally:
            await store.close()


def test_data_in_the_trash_is_listed_opened_by_hand_and_removed() -> None:
    with server_folder(on_disk=True) as place, service() as running, running.client() as client:
        cluster: Any = online_cluster(client, "backend")
        with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
        running.end(signal.SIGKILL)
        asyncio.run(given_up(running, cluster["id"]))
        running.start()
        layout = Layout(running.data_dir)
        [entry] = wait_until("it is in the trash", 60, lambda: trash.entries(layout))
        opened = place / "found"
        try:
            dump(by_hand(layout, entry.name, cluster["id"], opened), opened)
        finally:
            stop(opened)
        assert b"kept" in (opened / "backend.dump").read_bytes()

        nothing = UNKNOWN.replace("CLUSTER…NODE…SINCE…WHY…FOLDER\n…", "Nothing here is unknown")
        shell.type_in(nothing, place, **shell.at(running))
        shell.type_in(LISTS, place, **shell.at(running))
        assert trash.entries(layout) == []


def by_hand(layout: Layout, name: str, id: str, opened: Path) -> str:
    """The block of the page, in the places of this test; without root, all is one account's."""
    found = programs.find().postgres
    install = found[max(found, key=int)]
    script = (
        BY_HAND.replace("/var/lib/cenote", str(layout.data_dir))
        .replace("NAME", name)
        .replace("/ID/", f"/{id}/")
        .replace("/srv/found", str(opened))
        .replace("/usr/lib/postgresql/15/bin", str(install.bin))
        .replace("pg_dump", str(install.bin / "pg_dump"))
    )
    if os.geteuid() != 0:
        script = script.replace(" -o postgres", "").replace("runuser -u postgres -- ", "")
        script = "\n".join(line for line in script.splitlines() if not line.startswith("chown"))
    return script


def dump(script: str, opened: Path) -> None:
    done = subprocess.run(
        ["bash", "-ec", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment() | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        check=False,
        timeout=120,
    )
    log = opened / "log"
    assert done.returncode == 0, done.stdout + (log.read_text() if log.exists() else "")


def stop(opened: Path) -> None:
    pid = opened / "pg" / "postmaster.pid"
    if pid.exists():
        os.kill(int(pid.read_text().split()[0]), signal.SIGINT)
        wait_until("it has ended", 30, lambda: not pid.exists())
