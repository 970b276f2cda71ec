"""A data directory of a former version under the present one, with clients connected all the while.

What must stay: what the API shows, the servers' processes, and every client's backend.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cenote.model.paths import Layout
from cenote_client import Client
from tests.support import old_version
from tests.support.folders import server_folder
from tests.support.held import add_clusters, committed, held_clients, lost, seen
from tests.support.pages import blocks
from tests.support.service import CENOTE, WITHOUT_LIMITS, Service, online, service, tried
from tests.support.waiting import wait_until

PREFIX = "/cenote/"
_SCHEMA = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_stat_statements'"
TAGS = 150  # so that a migration takes more than one transaction
FORMAT_2 = ("v2/", "store")  # below the prefix; all else is of the former format


def taken_over(revision: str, clusters: int) -> list[str]:
    """Exchange a former version for the present one beside connected clients; return what was lost."""
    with (
        service(*WITHOUT_LIMITS, command=old_version.command(revision), clusters=clusters + 1) as running,
        running.client() as client,
    ):
        ids = add_clusters(client, [f"shop-{number}" for number in range(clusters)])
        token = running.cenote("token", "create", "reader", "--scope=database:read").strip()
        before = seen(client)
        with held_clients(client, ids) as held:
            running.end(signal.SIGKILL)
            running.command = (CENOTE,)
            problems = []
            for start in ("first", "second"):
                running.start()
                _settled(client, ids)
                _upgraded(client, ids)
                found = [*lost(before, seen(client)), *(line for one in held for line in one.differences())]
                problems += [f"after the {start} start: {line}" for line in found]
                if start == "first":
                    running.end()
            problems += committed(held)
            problems += _not_taken_over(Layout(running.data_dir))
        rotated = running.run("keys", "rotate")
        if rotated.returncode != 0:
            problems.append(f"the keys are not rotated: {rotated.stderr}")
        problems += [f"after the rotation: {line}" for line in lost(before, seen(client))]
        with running.client(token) as reader:
            reader.request("GET", "/v2/databases")
        client.request("DELETE", f"/v2/databases/{ids[0]}")
        folder = Layout(running.data_dir).clusters / ids[0]
        wait_until("the deleted cluster is gone", 60, lambda: not folder.exists())
        return problems + asyncio.run(former_keys(running))


def _upgraded(client: Client, ids: Iterable[str]) -> None:
    """Wait until the databases of clusters have the present layout of system objects."""
    for id in ids:
        uri = client.request("GET", f"/v2/databases/{id}")["database"]["connection"]["uri"]
        wait_until("the databases are upgraded", 60, functools.partial(_is_upgraded, uri))


def _is_upgraded(uri: str) -> bool:
    return bool(tried(uri, _SCHEMA) == "pg_catalog" and tried(uri, dbname="postgres") == 42)


def _not_taken_over(layout: Layout) -> list[str]:
    """Return the folders that the servers' account still owns, or has lost, where it is not ours."""
    if os.geteuid() != 0:
        return []
    clusters = layout.hosted()
    ours = [layout.clusters, layout.sockets, layout.templates]
    ours += [path for one in clusters for path in (one.root, one.certificate.parent)]
    theirs = [path for one in clusters for path in (one.pooler, one.sockets)]
    theirs += [node.data for node in layout.nodes()]
    return [
        f"{path} belongs to {path.stat().st_uid}"
        for paths, is_ours in ((ours, True), (theirs, False))
        for path in paths
        if (path.stat().st_uid == 0) != is_ours
    ]


def killed_starts(revision: str, clusters: int, times: int, chance: random.Random) -> list[str]:
    """Kill the present version at a random moment of its first start on former data; return what was lost.

    The moments are spread over the time that such a start takes.
    """
    problems: list[str] = []
    with _former_data(revision, clusters) as (running, copy, before):
        running.command = (CENOTE,)
        began = time.monotonic()
        running.start()
        longest = time.monotonic() - began
        for number in range(times):
            running.stop()
            shutil.rmtree(running.data_dir)
            _copy(copy, running.data_dir)
            moment = chance.uniform(0, longest)
            process = running.launch()
            time.sleep(moment)
            process.kill()
            process.wait()
            running.start()
            with running.client() as client:
                _settled(client, before["databases"])
                found = lost(before, seen(client)) + asyncio.run(former_keys(running))
            problems += [f"start {number}, killed after {moment:.3f} s: {line}" for line in found]
    return problems


def taken_back(revision: str, clusters: int) -> list[str]:
    """Go the way back of docs/upgrade.md; return what was lost."""
    former = old_version.command(revision)
    with (
        service(*WITHOUT_LIMITS, command=former, clusters=clusters + 1) as running,
        running.client() as client,
    ):
        ids = add_clusters(client, [f"shop-{number}" for number in range(clusters)])
        before = seen(client)
        with held_clients(client, ids) as held:
            running.end()
            running.command = (CENOTE,)
            running.start()
            _settled(client, ids)
            client.request("POST", "/v2/tags", json={"name": "since"})
            running.end()
            for title in ("stop", "put the copy in place"):
                _carry_out(title, running)
            running.command = former
            running.start()
            _settled(client, ids)
            found = [*lost(before, seen(client)), *(line for one in held for line in one.differences())]
            return found + committed(held)


def back_and_again(revision: str, clusters: int) -> list[str]:
    """Go back to a version that reads the records as they are, and upgrade again; return what was lost."""
    versions = ((CENOTE,), old_version.command(revision), (CENOTE,))
    with (
        service(*WITHOUT_LIMITS, command=versions[1], clusters=clusters + 1) as running,
        running.client() as client,
    ):
        ids = add_clusters(client, [f"shop-{number}" for number in range(clusters)])
        with held_clients(client, ids) as held:
            problems = []
            for number, command in enumerate(versions):
                before = seen(client)
                running.end()
                running.command = command
                running.start()
                _settled(client, ids)
                found = [*lost(before, seen(client)), *(line for one in held for line in one.differences())]
                problems += [f"after start {number}: {line}" for line in found]
                client.request("POST", f"/v2/databases/{ids[0]}/dbs", json={"name": f"since-{number}"})
                _settled(client, ids)
            return problems + committed(held)


def _carry_out(title: str, running: Service) -> None:
    """Run a block of docs/upgrade.md on this data directory, without what is systemd's part."""
    (block,) = (block.text for block in blocks("upgrade.md") if block.title == title)
    lines = [line for line in block.splitlines() if not line.startswith("systemctl")]
    script = "\n".join(lines).replace("/var/lib/cenote", str(running.data_dir))
    subprocess.run(["bash", "-ec", script], stdin=subprocess.DEVNULL, check=True, timeout=60)


async def former_keys(running: Service) -> list[str]:
    """Return the keys of the former format that are still in etcd, unless it is the format in use."""
    async with running.etcd_client() as etcd:
        if await etcd.read(f"{PREFIX}store") is None:
            return []
        pages = [page async for page in etcd.pages(PREFIX, 1000, keys_only=True)]
    keys = [found.key.decode().removeprefix(PREFIX) for page in pages for found in page.found]
    return [f"{key} is left" for key in keys if not key.startswith(FORMAT_2)]


@contextmanager
def _former_data(revision: str, clusters: int) -> Iterator[tuple[Service, Path, dict[str, Any]]]:
    """Make a data directory by a former version; yields its stopped service, a copy, what the API showed."""
    with (
        server_folder() as folder,
        service(*WITHOUT_LIMITS, command=old_version.command(revision), clusters=clusters + 1) as running,
    ):
        with running.client() as client:
            add_clusters(client, [f"shop-{number}" for number in range(clusters)])
            for number in range(TAGS):
                client.request("POST", "/v2/tags", json={"name": f"many-{number}"})
            before = seen(client)
        running.stop()
        _copy(running.data_dir, folder / "copy")
        yield running, folder / "copy", before


def _copy(source: Path, target: Path) -> None:
    """Copy a folder with the owners of its files."""
    subprocess.run(["cp", "-a", source, target], check=True)


def _settled(client: Client, ids: Iterable[str]) -> None:
    for id in ids:
        online(client, id)
