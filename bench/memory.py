"""Memory of an idle cluster, and of the service itself.

Measured as PSS, the proportional set size of ``/proc/<pid>/smaps_rollup``: a shared page counts for each
process by its share.  A cluster is all processes of PostgreSQL and PgBouncer, with no other cluster on the
service, after a query through the pool, once the pooler has closed the server connection.  Its floor is
PostgreSQL alone, with the same settings, after a query.  The service is all processes of ``cenote serve``
with ten clusters; etcd is a separate process and not included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.plain import plain_server, template_of
from bench.row import Row, ours_at_most
from cenote.host import processes
from cenote.model.paths import Layout
from cenote_client import Client
from tests.support.service import Service, added_pool, answer_of, online_cluster, service
from tests.support.service_processes import members
from tests.support.waiting import wait_until

RUNS = 3
CLUSTERS = 10
_SESSION = re.compile(r"\[local\]|\d\(\d+\)")  # the client's address in a process title
CALLS = 20  # of each kind before the measurement, so that lazy imports and caches count


def measure() -> list[Row]:
    options = ("--requests-per-hour=0", "--requests-per-minute=0")
    with service(*options, on_disk=True) as running, running.client() as client:
        clusters = _clusters(running, client)
        return [clusters, _service(running, client)]


def _clusters(running: Service, client: Client) -> Row:
    layout = Layout(running.data_dir)
    template: Path | None = None
    ours: list[float] = []
    floor: list[float] = []
    for number in range(RUNS):
        cluster = online_cluster(client, f"alone-{number}")
        root = layout.cluster(UUID(cluster["id"])).root
        answer_of(added_pool(client, cluster["id"], "pool")["connection"]["uri"])
        template = template or template_of(running, cluster, running.data_dir / "bench-template")
        _end_sessions(cluster)
        ours.append(_idle(root))
        client.request("DELETE", f"/v2/databases/{cluster['id']}")
        wait_until("the cluster is gone", 60, _is_gone(root))
        with plain_server() as server:
            server.copy(template)
            server.start()
            server.answer()
            floor.append(_idle(server.data))
    return Row(
        "memory of an idle cluster with its pooler / postgres", "MiB", ours, floor, (ours_at_most(35),)
    )


def _service(running: Service, client: Client) -> Row:
    ids = [online_cluster(client, f"cluster-{number}")["id"] for number in range(CLUSTERS)]
    for id in ids:
        added_pool(client, id, "pool")
    call(client, ids)
    name = f"memory of the service with {CLUSTERS} clusters"
    return Row(name, "MiB", [service_mebibytes(running)], aims=(ours_at_most(150),))


def service_mebibytes(running: Service) -> float:
    """Return the memory of the service's processes, without etcd."""
    return mebibytes(pid for name, pid in members(running).items() if name != "etcd")


def call(client: Client, ids: Iterable[str]) -> None:
    """Make calls of each kind for these clusters, which have a pool ``pool``."""
    for id in ids:
        path = f"/v2/databases/{id}"
        for _ in range(CALLS):
            for part in ("", "/pools", "/pools/pool", "/users", "/dbs", "/ca"):
                client.request("GET", path + part)
    client.request("GET", "/v2/databases/options")


def _is_gone(folder: Path) -> Callable[[], bool]:
    return lambda: not folder.exists()


def _end_sessions(cluster: Any) -> None:
    """Close the idle server connections of the pooler, as it does itself after ten minutes."""
    connection = cluster["connection"]
    answer_of(
        connection["uri"],
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE usename = current_user AND pid != pg_backend_pid()",
    )


def _idle(folder: Path) -> float:
    """Return the memory of all processes in a directory, once no client is connected."""

    def pids() -> list[int]:
        return [process.pid for process in processes.below(folder)]

    wait_until("nobody is connected", 60, lambda: not any(_SESSION.search(_title(pid)) for pid in pids()))
    return mebibytes(pids())


def mebibytes(pids: Iterable[int]) -> float:
    return sum(_pss_kibibytes(pid) for pid in pids) / 1024


def _pss_kibibytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it has just ended
