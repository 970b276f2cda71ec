"""What backups cost: clusters made at once, an idle cluster, pgbench through a pool, and a backup of 1 GB.

Ours is with the backups that a service makes by itself, the floor the same service with ``--backups none``,
each measured right after the other.  ``SECONDS`` is how long pgbench runs and an idle cluster is watched,
``RUNS`` how often all is done.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.memory import mebibytes
from bench.row import Row, ratio_at_least
from cenote.host import processes
from cenote_client import BusyError, Client
from tests.support import pgbench
from tests.support.service import WITHOUT_LIMITS, Service, added_pool, online, online_cluster, service
from tests.support.waiting import wait_until

SECONDS = float(os.environ.get("SECONDS", "30"))
RUNS, AT_ONCE = int(os.environ.get("RUNS", "3")), 10
SCALE = 64  # of pgbench: about 1 GB
LONG = 1800
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Seen:
    """What was measured of one service: seconds, MiB, percent of a processor, transactions in a second."""

    first: float
    at_once: float
    memory: float
    processor: float
    rate: float
    backup: float = 0.0
    size: float = 0.0


def measure() -> list[Row]:
    ours: list[Seen] = []
    floor: list[Seen] = []
    for number in range(RUNS):
        ours.append(_measured(kept=True, large=number == 0))
        floor.append(_measured(kept=False, large=False))

    def row(name: str, unit: str, field: str, *aims: Any) -> Row:
        return Row(
            name, unit, [getattr(one, field) for one in ours], [getattr(one, field) for one in floor], aims
        )

    return [
        row("first cluster of a new service / without backups", "s", "first"),
        row(f"{AT_ONCE} clusters made at once / without backups", "s", "at_once"),
        row("memory of an idle cluster and its service / without backups", "MiB", "memory"),
        row("processor time of these / without backups", "% of one", "processor"),
        row(
            "pgbench -N through a pool, archiving and backing up / without", "/s", "rate", ratio_at_least(0.9)
        ),
        Row("backup beside the schedule of a database that has grown to 1 GB", "s", [ours[0].backup]),
        Row("size of that database", "MiB", [ours[0].size]),
    ]


def _measured(*, kept: bool, large: bool) -> Seen:
    with (
        service(*WITHOUT_LIMITS, on_disk=True, backups_by_default=kept) as running,
        running.client() as client,
    ):
        began = time.perf_counter()
        cluster: Any = online_cluster(client, "first")
        first = time.perf_counter() - began
        if kept:
            wait_for_backup(client, cluster["id"], 1)
        memory, processor = _idle(running)
        rate = _rate(client, cluster, kept=kept)
        seen = Seen(first, _at_once(client), memory, processor, rate)
        if large:
            seen.backup, seen.size = _large(client)
        return seen


def _count(client: Client, id: str) -> int:
    try:
        found: Any = client.databases.list_backups(id)
    except BusyError:
        return 0
    return len(found["backups"])


def wait_for_backup(client: Client, id: str, count: int) -> None:
    wait_until("it is backed up", LONG, lambda: _count(client, id) >= count)


def _idle(running: Service) -> tuple[float, float]:
    """Return memory and processor time of all processes of the service, after its beginning."""

    def pids() -> list[int]:
        below = [process.pid for process in processes.below(running.data_dir)]
        return [*below, *running.processes().values()]

    time.sleep(SECONDS / 3)
    before, began = _ticks(pids()), time.perf_counter()
    time.sleep(SECONDS)
    used = (_ticks(pids()) - before) / _TICKS
    return mebibytes(set(pids())), 100 * used / (time.perf_counter() - began)


def _ticks(pids: list[int]) -> int:
    """Return the processor time of processes, with that of their children that have ended."""
    total = 0
    for pid in set(pids):
        with contextlib.suppress(OSError):  # it has just ended
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(field) for field in fields[11:15])
    return total


def _rate(client: Client, cluster: Any, *, kept: bool) -> float:
    """Return the transactions in a second, while a backup is made where they are kept."""
    pool = added_pool(client, cluster["id"], "pool", size=8)
    pgbench.initialize(cluster["connection"]["uri"])
    with pgbench.bench(pool["connection"]["uri"]) as seen:
        if kept:
            client.databases.create_backup(cluster["id"])
        time.sleep(SECONDS)
    if seen.failed:
        raise RuntimeError(seen.failed)
    return seen.done / SECONDS


def _at_once(client: Client) -> float:
    """Return the seconds until clusters that are created together are all online."""
    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = list(pool.map(lambda number: _created(client, f"one-{number}"), range(AT_ONCE)))
    for id in made:
        online(client, id)
    return time.perf_counter() - began


def _created(client: Client, name: str) -> str:
    body = {"engine": "pg", "num_nodes": 1, "region": "nyc1", "size": "db-s-1vcpu-1gb", "name": name}
    return str(client.request("POST", "/v2/databases", json=body)["database"]["id"])


def _large(client: Client) -> tuple[float, float]:
    """Return how long a full backup of a large database takes, and the database's size."""
    other: Any = online_cluster(client, "large")
    wait_for_backup(client, other["id"], 1)
    uri = other["connection"]["uri"]
    subprocess.run([pgbench.program(), "-i", "-q", "-s", str(SCALE), uri], check=True, capture_output=True)
    size = database_mebibytes(uri)
    began = time.perf_counter()
    client.databases.create_backup(other["id"])
    wait_for_backup(client, other["id"], 2)
    return time.perf_counter() - began, size


def database_mebibytes(uri: str) -> float:
    with psycopg.connect(uri) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return float(row[0]) / 2**20
