"""The records of 10,000 clusters over 50 hosts, whose agents are simulated: no server is started.

The floor of each row is the same service with ten such clusters on one host.  The service itself, with its
API, its agent and its etcd, is real, and so are the presences and watches of the other hosts
(``simulated_hosts.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from uuid import uuid4

import psutil

from bench import load, records
from bench.getting import FEW, LIMITS, MANY, Target
from bench.memory import mebibytes
from bench.row import Row, ratio_at_least, ratio_at_most
from cenote.model.paths import Layout
from cenote.security.sealing import Sealer
from cenote.store import Store
from tests.support.service import Service, service

HOSTS = 50
RUNS, CREATED = 12, 100
REST_SECONDS = 30.0


def measure() -> list[Row]:
    load.program()  # fail before anything is started
    with service(*LIMITS) as small, service(*LIMITS) as large:
        few = Target(small, FEW, ids(1))
        many = Target(large, MANY, hosts := ids(HOSTS))
        with _simulated(large, hosts):
            return [
                _getting(few, many),
                asyncio.run(_creating(small, large)),
                *_memory(small, large),
                *_etcd(small, large),
            ]


def ids(count: int) -> list[str]:
    return [str(uuid4()) for _ in range(count)]


@contextlib.contextmanager
def _simulated(running: Service, hosts: list[str]) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.simulated_hosts", str(running.data_dir), *hosts],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise RuntimeError("the simulated hosts have ended; see above")
        yield
    finally:
        process.stdin.close()
        process.wait(timeout=60)
        process.stdout.close()


def _getting(few: Target, many: Target) -> Row:
    ours: list[float] = []
    floor: list[float] = []
    turns = [(many, ours), (few, floor)]
    for _ in range(RUNS):
        for target, rates in turns:
            rates.append(target.wrk.run(target.url).rate)
        turns.reverse()
    return Row(f"GET pool with {_many()} / with {FEW}", "/s", ours, floor, (ratio_at_least(0.9),))


async def _creating(small: Service, large: Service) -> Row:
    """Write a new cluster's record with its claims, as a POST does, until the writer's memory has it."""
    ours: list[float] = []
    floor: list[float] = []
    async with contextlib.AsyncExitStack() as stack:
        turns = []
        for running, times in ((large, ours), (small, floor)):
            layout = Layout(running.data_dir)
            client = records.client_of(layout)
            stack.push_async_callback(client.close)
            store = Store(client)
            await store.open()
            stack.push_async_callback(store.close)
            turns.append((store, records.generate(Sealer(layout.api_sealing_key), first=MANY), times))
        for _ in range(CREATED):
            for store, made, times in turns:
                cluster, began = next(made), time.perf_counter()
                await store.add_cluster(cluster)
                times.append((time.perf_counter() - began) * 1000)
            turns.reverse()
    name = f"a create in the store, with {_many()} / with {FEW}"
    return Row(name, "ms", ours, floor, (ratio_at_most(1.25),))


def _memory(small: Service, large: Service) -> Iterator[Row]:
    for name in ("api", "agent"):
        ours, floor = ([mebibytes([running.processes()[name]])] for running in (large, small))
        yield Row(f"memory of the {name} process, with {_many()} / with {FEW}", "MiB", ours, floor)


def _etcd(small: Service, large: Service) -> Iterator[Row]:
    """Measure etcd while nothing changes: presences are kept, and every host follows the records."""
    pids = [running.servers()["etcd"] for running in (large, small)]
    before = [_seconds(pid) for pid in pids]
    time.sleep(REST_SECONDS)
    ours, floor = (
        [100 * (_seconds(pid) - used) / REST_SECONDS] for pid, used in zip(pids, before, strict=True)
    )
    yield Row(f"processor time of etcd at rest, with {_many()} / with {FEW}", "%", ours, floor)
    ours, floor = ([mebibytes([pid])] for pid in pids)
    yield Row(f"memory of etcd, with {_many()} / with {FEW}", "MiB", ours, floor)
    ours, floor = ([asyncio.run(_used_mebibytes(running))] for running in (large, small))
    yield Row(f"records in etcd's file, with {_many()} / with {FEW}", "MiB", ours, floor)


async def _used_mebibytes(running: Service) -> float:
    async with running.etcd_client() as client:
        return (await client.status()).size_in_use / (1 << 20)


def _seconds(pid: int) -> float:
    used = psutil.Process(pid).cpu_times()
    return used.user + used.system


def _many() -> str:
    return f"{MANY:,} clusters on {HOSTS} hosts"
