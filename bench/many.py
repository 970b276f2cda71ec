"""A service with many clusters on one host: creating one more, resting, a restart, and a reboot.

Run by name only, ``python -m bench many``, since it takes some minutes and 35 MiB of memory for each cluster.
``CLUSTERS`` is how many, 200 unless the environment says otherwise.  A reboot is simulated: all processes
are killed at once.  A cluster is back when its health is ``healthy``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

import psutil

from bench.row import Row, ours_at_most, ratio_at_most
from bench.starting import first_answer
from cenote.host import processes
from cenote_client import Client
from tests.support.service import WITHOUT_LIMITS, Service, online_cluster, service

CLUSTERS = int(os.environ.get("CLUSTERS", "200"))
CREATED = 10
SETTLE_SECONDS, REST_SECONDS = 180.0, 60.0  # a new server writes for some minutes
ASK_EVERY = 0.5
MOST_SECONDS = 600.0
PAGE = 200


def measure() -> list[Row]:
    with (
        service(*WITHOUT_LIMITS, on_disk=True, clusters=CLUSTERS + CREATED + 1) as running,
        running.client() as client,
    ):
        ids = [online_cluster(client, f"cluster-{number}")["id"] for number in range(CLUSTERS)]
        wait_until_all_are_healthy(client, CLUSTERS)
        rows = [_creating(client), _resting(running)]
        running.end()
        rows += _starting(running, client, ids[0], "restart")
        _kill_everything(running)
        return [*rows, *_starting(running, client, ids[0], "reboot")]


def _creating(client: Client) -> Row:
    """Create and delete a cluster beside many, and on a service that has none, in turn."""
    many: list[float] = []
    one: list[float] = []
    with service(*WITHOUT_LIMITS, on_disk=True) as other, other.client() as alone:
        for number in range(CREATED):
            for where, times in ((client, many), (alone, one)):
                began = time.perf_counter()
                cluster = online_cluster(where, f"created-{number}")
                times.append((time.perf_counter() - began) * 1000)
                where.request("DELETE", f"/v2/databases/{cluster['id']}")
    aims = (ratio_at_most(1.25),)
    return Row(f"POST cluster → online, beside {CLUSTERS} clusters / alone", "ms", many, one, aims)


def _resting(running: Service) -> Row:
    """Measure the processor time of all processes of the service, without PostgreSQL's and PgBouncer's."""
    time.sleep(SETTLE_SECONDS)
    before, began = _processor_seconds(running), time.perf_counter()
    time.sleep(REST_SECONDS)
    used = _processor_seconds(running) - before
    percent = 100 * used / (time.perf_counter() - began)
    return Row(f"processor time at rest, {CLUSTERS} clusters", "%", [percent], aims=(ours_at_most(5),))


def _processor_seconds(running: Service) -> float:
    total = 0.0
    for pid in running.processes().values():
        used = psutil.Process(pid).cpu_times()
        total += used.user + used.system
    return total


def _starting(running: Service, client: Client, one: str, what: str) -> list[Row]:
    began = time.perf_counter()
    answered = first_answer(running, one)
    wait_until_all_are_healthy(client, CLUSTERS)
    back = (time.perf_counter() - began) * 1000
    return [
        Row(f"{what} with {CLUSTERS} clusters: first answer", "ms", [answered], aims=(ours_at_most(3000),)),
        Row(f"{what} with {CLUSTERS} clusters: all healthy", "ms", [back], aims=(ours_at_most(90_000),)),
    ]


def wait_until_all_are_healthy(client: Client, count: int) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    while (healthy := _healthy(client)) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {healthy} of {count} clusters are healthy")
        time.sleep(ASK_EVERY)


def _healthy(client: Client) -> int:
    found: int = 0
    page = 1
    while True:
        answer = client.request("GET", "/v2/databases", params={"page": page, "per_page": PAGE})
        found += sum(one["cenote"]["health"] == "healthy" for one in answer["databases"])
        if page * PAGE >= int(answer["meta"]["total"]):
            return found
        page += 1


def _kill_everything(running: Service) -> None:
    """Kill the service, its etcd and all servers, as a reboot does; the files stay."""
    for pid in [running.pid, *running.processes().values()]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while found := processes.below(running.data_dir):
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.1)
    running.wait()
