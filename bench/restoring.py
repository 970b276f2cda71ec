"""How long a fork takes, a restore to a moment, and a restore drill: of 100 MB and of 1 GB.

A fork to now is copied from the running server; one to a moment comes from the repository, with the WAL
after the backup.  ``RUNS`` is how often each is done.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from bench.backups import LONG, database_mebibytes, wait_for_backup
from bench.row import Row, ours_at_most
from cenote_client import BusyError, Client, InvalidError
from tests.support import pgbench
from tests.support.service import SMALLEST, WITHOUT_LIMITS, online_cluster, service
from tests.support.waiting import wait_until

RUNS = int(os.environ.get("RUNS", "3"))
SMALL, LARGE = 6, 64  # scales of pgbench: with the empty database about 100 MB and 1 GB


def measure() -> list[Row]:
    with (
        service(*WITHOUT_LIMITS, on_disk=True, backups_by_default=True) as running,
        running.client() as client,
    ):
        small, large = _filled(client, "small", SMALL), _filled(client, "large", LARGE)
        return [
            Row("size of the small database", "MiB", [database_mebibytes(_uri(small))]),
            Row("fork of it to now", "s", _times(lambda: _forked(client, small)), (), (ours_at_most(3.0),)),
            Row("fork of it to a moment", "s", _times(lambda: _restored(client, small))),
            Row("size of the large database", "MiB", [database_mebibytes(_uri(large))]),
            Row("fork of it to now", "s", _times(lambda: _forked(client, large))),
            Row("fork of it to a moment", "s", _times(lambda: _restored(client, large))),
            Row("restore drill of it", "s", [_drilled(client, large) for _ in range(RUNS)]),
        ]


def _uri(cluster: Any) -> str:
    return str(cluster["connection"]["uri"])


def _filled(client: Client, name: str, scale: int) -> Any:
    """A cluster with pgbench's tables and a backup that has them."""
    cluster = online_cluster(client, name)
    wait_for_backup(client, cluster["id"], 1)
    uri = _uri(cluster)
    subprocess.run([pgbench.program(), "-i", "-q", "-s", str(scale), uri], check=True, capture_output=True)
    client.databases.create_backup(cluster["id"])
    wait_for_backup(client, cluster["id"], 2)
    return cluster


def _times(done: Callable[[], float]) -> list[float]:
    return [done() for _ in range(RUNS)]


def _forked(client: Client, source: Any, **restore: str) -> float:
    """Return the seconds from the call until the fork is online, and delete it."""
    body = SMALLEST | {"name": "fork", "backup_restore": {"database_name": source["name"], **restore}}
    began = time.perf_counter()
    id = client.request("POST", "/v2/databases", json=body)["database"]["id"]
    path = f"/v2/databases/{id}"
    wait_until("it is online", LONG, lambda: client.request("GET", path)["database"]["status"] == "online")
    seconds = time.perf_counter() - began
    client.request("DELETE", path)
    return seconds


def _restored(client: Client, source: Any) -> float:
    """The same to a moment of now, as soon as its WAL is in the repository."""
    moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")

    def forked() -> float | None:
        try:
            return _forked(client, source, backup_created_at=moment)
        except (InvalidError, BusyError):  # not within the window yet
            time.sleep(1)
            return None

    return wait_until("the moment can be restored", LONG, forked) or 0.0


def _drilled(client: Client, cluster: Any) -> float:
    """Return the seconds of a restore drill that is asked for now."""
    path = f"/v2/databases/{cluster['id']}/backups"
    asked = client.request("POST", f"{path}/drills")["drill"]["asked_at"]

    def result() -> Any:
        drill = client.request("GET", path)["cenote"]["drill"]
        return drill if drill is not None and drill["started_at"] >= asked else None

    drill = wait_until("the drill has ended", LONG, result)
    if drill["failure"]:
        raise RuntimeError(drill["failure"])
    return float(drill["seconds"])
