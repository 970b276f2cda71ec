"""Metrics ports are opened and closed with the records, on a real store and without servers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace
from uvicorn.server import ServerState

from cenote.front.metrics_endpoint import MetricsEndpoint
from cenote.host import system
from cenote.model.fleet_records import Host
from cenote.model.records import Cluster
from cenote.model.topology import writer_or_first
from cenote.security.sealing import Sealer
from cenote.stats.observer import NO_OBSERVER
from cenote.store import PrivateEtcd, Store
from tests.support.etcd import bare_cluster, opened_store, with_etcd
from tests.support.ports import free_range
from tests.support.waiting import wait_until_async

SECONDS = 20


def host(first: int, last: int) -> Host:
    return Host(
        id="here",
        name="here",
        address="localhost",
        memory_mib=1024,
        cpus=1,
        versions={},
        first_port=first,
        last_port=last,
    )


def metrics_port(store: Store, cluster: Cluster) -> int:
    stored = store.cluster(cluster.id)
    assert stored is not None
    return writer_or_first(stored.value).metrics_port


async def listens(port: int) -> None:
    await wait_until_async(f"port {port} is open", SECONDS, lambda: port in system.listening_ports())


async def is_closed(port: int) -> None:
    await wait_until_async(f"port {port} is closed", SECONDS, lambda: port not in system.listening_ports())


@asynccontextmanager
async def scraping(store: Store, folder: Path) -> AsyncIterator[None]:
    sealer = Sealer(folder / "key")
    served = MetricsEndpoint(store, sealer, NO_OBSERVER, "here", ("127.0.0.1",), ServerState())
    running = asyncio.create_task(served.run())
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def run(scenario: Callable[[Store], Awaitable[None]], folder: Path) -> None:
    async def with_store(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            await scenario(store)

    with_etcd(with_store)


def test_a_port_opens_with_a_record_and_closes_with_its_deletion_or_at_shutdown(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        first = free_range(6)
        before, later = bare_cluster("before", first), bare_cluster("later", first + 2)
        before, later = with_port(before, first + 4), with_port(later, first + 5)
        await store.add_cluster(before)
        async with scraping(store, tmp_path):
            await listens(first + 4)
            await store.add_cluster(later)
            await listens(first + 5)
            await store.delete_cluster(before.id, datetime.now(UTC))
            await is_closed(first + 4)
            await store.forget_cluster(later.id)
            await is_closed(first + 5)
            assert store.ports("here") >= writer_or_first(before).ports  # until its servers have ended
            await store.add_cluster(replace(later, name="again"))
            await listens(first + 5)
        await is_closed(first + 5)

    run(scenario, tmp_path)


def test_clusters_of_other_hosts_are_ignored(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        first = free_range(4)
        other = bare_cluster("other", first, host="there")
        ours = with_port(bare_cluster("ours", first), first + 2)
        await store.add_cluster(other)
        await store.add_cluster(ours)
        async with scraping(store, tmp_path):
            await listens(first + 2)
            assert metrics_port(store, other) == 0
            assert first + 3 not in system.listening_ports()

    run(scenario, tmp_path)


def with_port(cluster: Cluster, port: int) -> Cluster:
    return replace(cluster, nodes=(replace(writer_or_first(cluster), metrics_port=port),))
