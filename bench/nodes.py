"""Memory and idle processor time of a cluster with three nodes on three hosts, and a pooler on each.

All processes of the cluster count: PostgreSQL, PgBouncer, and Patroni.  Memory is PSS, as of other clusters.
Processor time is that of a cluster that has settled and that nobody uses.
"""

from __future__ import annotations

import time
from uuid import UUID

import psutil

from bench.memory import mebibytes
from bench.row import Row, ours_at_most
from cenote.host import processes
from cenote.model.paths import Layout
from cenote_client import Client
from tests.support.fleet import Fleet, fleet
from tests.support.service import added_pool, answer_of, online_cluster
from tests.support.waiting import wait_until

NODES = 3
SETTLE_SECONDS, REST_SECONDS = 60.0, 60.0


def measure() -> list[Row]:
    with fleet(NODES, joined=True) as hosts, hosts.hosts[0].client() as client:
        id = _made(client)
        time.sleep(SETTLE_SECONDS)
        memory = mebibytes(_pids(hosts, id))
        before, began = _processor_seconds(hosts, id), time.perf_counter()
        time.sleep(REST_SECONDS)
        used = _processor_seconds(hosts, id) - before
        percent = 100 * used / (time.perf_counter() - began)
    what = f"a cluster of {NODES} nodes with its poolers"
    return [
        Row(f"memory of {what}", "MiB", [memory], aims=(ours_at_most(250),)),
        Row(f"processor time at rest, {what}", "%", [percent], aims=(ours_at_most(3),)),
    ]


def _made(client: Client) -> str:
    """Return the id of a cluster whose standbys follow, after a query through its pool."""
    id = str(online_cluster(client, "three-nodes", num_nodes=NODES)["id"])

    def is_healthy() -> bool:
        found = client.request("GET", f"/v2/databases/{id}")["database"]["cenote"]
        return bool(found["health"] == "healthy")

    wait_until("all nodes are as wanted", 120, is_healthy)
    answer_of(added_pool(client, id, "pool")["connection"]["uri"])
    return id


def _pids(hosts: Fleet, id: str) -> list[int]:
    folders = [Layout(host.data_dir).cluster(UUID(id)).root for host in hosts.hosts]
    return [process.pid for folder in folders for process in processes.below(folder)]


def _processor_seconds(hosts: Fleet, id: str) -> float:
    total = 0.0
    for pid in _pids(hosts, id):
        used = psutil.Process(pid).cpu_times()
        total += used.user + used.system
    return total
