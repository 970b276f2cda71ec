"""The controller on a real etcd: its election, and what it does while it is elected."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from cenote.controller import controller as controllers
from cenote.controller import election as elections
from cenote.controller.controller import Controller
from cenote.controller.election import Election
from cenote.model.event_records import Note
from cenote.model.fleet_records import Host
from cenote.model.record import Secret
from cenote.model.records import Cluster, StorageAutoscale
from cenote.model.status_records import DiskUse, NodeStatus
from cenote.model.topology import writer_or_first
from cenote.rules import record_formats
from cenote.rules.host_names import LOOPBACK
from cenote.security import certificates
from cenote.security.sealing import Sealer
from cenote.store import EtcdClient, HostStore, PrivateEtcd, Store
from tests.support.etcd import bare_cluster, opened_store, with_etcd
from tests.support.waiting import wait_until_async

HOST = str(uuid4())
GIB = 1024


@asynccontextmanager
async def standing(store: Store, host: str, directory: str = "d") -> AsyncIterator[Election]:
    """A candidate that stands for election, and resigns in the end."""
    candidate = Election(store.client, store.keys.controller, host, directory)
    task = asyncio.create_task(candidate.run())
    try:
        yield candidate
    finally:
        await cancel(task)
        await candidate.resign()


async def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@asynccontextmanager
async def at_work(
    store: Store, sealer: Sealer, host: str = HOST, directory: str = "d"
) -> AsyncIterator[None]:
    task = asyncio.create_task(Controller(store, sealer, host, directory).run())
    try:
        yield
    finally:
        await cancel(task)


@asynccontextmanager
async def agent(etcd: PrivateEtcd) -> AsyncIterator[HostStore]:
    """The store of an agent, without the agent."""
    client = EtcdClient(socket=etcd.socket)
    store = HostStore(client, HOST, "d")
    await store.open()
    try:
        await store.announce(
            Host(
                id=HOST,
                name="db-1",
                address="h",
                memory_mib=1,
                cpus=1,
                versions={},
                reads=record_formats.HIGHEST,
                first_port=10_000,
                last_port=10_099,
            )
        )
        yield store
    finally:
        await store.close()
        await client.close()


async def soon(what: str, condition: Callable[[], Any]) -> Any:
    return await wait_until_async(what, 10, condition)


def report(**fields: Any) -> NodeStatus:
    return msgspec.structs.replace(NodeStatus(reached=1, at=datetime.now(UTC)), **fields)


def recorded(store: Store, cluster: Cluster) -> Cluster:
    stored = store.cluster(cluster.id)
    assert stored is not None
    return stored.value


def port_of(store: Store, cluster: Cluster) -> int:
    return writer_or_first(recorded(store, cluster)).metrics_port


def test_one_candidate_is_elected_and_the_next_when_it_resigns() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store, standing(store, "b") as second:
            await soon("the first is elected", lambda: second.is_elected)
            async with standing(store, "a") as first:
                await asyncio.sleep(1.5)
                assert not first.is_elected
            async with standing(store, "c") as third:
                await second.resign()
                await soon("another is elected", lambda: third.is_elected or second.is_elected)

    with_etcd(scenario)


def test_a_killed_predecessor_of_the_same_directory_is_replaced_at_once() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            killed = Election(store.client, store.keys.controller, HOST, "d")
            assert await killed._stand()
            async with asyncio.timeout(2), standing(store, HOST, "d") as next_one:
                while not next_one.is_elected:
                    await asyncio.sleep(0.01)

    with_etcd(scenario)


def test_a_copy_of_the_directory_waits_for_the_lease() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            assert await Election(store.client, store.keys.controller, HOST, "d")._stand()
            assert not await Election(store.client, store.keys.controller, HOST, "copy")._stand()

    with_etcd(scenario)


def test_a_candidate_without_its_lease_is_no_longer_elected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elections, "LEASE_SECONDS", 3)

    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store, standing(store, "a") as first:
            await soon("it is elected", lambda: first.is_elected)
            before = first.revision
            await store.client.revoke_lease(first._lease)
            await soon("it stands anew", lambda: first.is_elected and first.revision != before)

    with_etcd(scenario)


def test_nothing_is_written_by_a_controller_that_was_replaced() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            old = Election(store.client, store.keys.controller, HOST, "d")
            assert await old._stand()
            assert await Election(store.client, store.keys.controller, HOST, "d")._stand()
            cluster = bare_cluster("one", 10_000, host=HOST)
            await store.add_cluster(cluster)
            await store.forget_cluster(cluster.id, old.condition())
            assert store.cluster(cluster.id) is not None

    with_etcd(scenario)


def test_a_deleted_cluster_is_forgotten_when_its_host_reports_it_removed(tmp_path: Path) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store, agent(etcd) as host, at_work(store, Sealer(tmp_path / "k")):
            cluster = bare_cluster("one", 10_000, host=HOST)
            await store.add_cluster(cluster)
            await store.delete_cluster(cluster.id, datetime.now(UTC))
            await host.report(cluster.id, "node-1", report(reason="stopping"))
            await asyncio.sleep(0.3)
            assert store.cluster(cluster.id) is not None
            await host.report(cluster.id, "node-1", report(removed=True))
            await soon("it is forgotten", lambda: store.cluster(cluster.id) is None)
            stone = store.tombstone(cluster.id)
            assert stone is not None
            assert stone.name == "one"
            assert store.ports(HOST) == set()

    with_etcd(scenario)


def test_storage_and_metrics_ports_follow_the_reports(tmp_path: Path) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store, agent(etcd) as host, at_work(store, Sealer(tmp_path / "k")):
            policy = StorageAutoscale(enabled=True, threshold_percent=80, increment_gib=10)
            cluster = msgspec.structs.replace(bare_cluster("one", 10_000, host=HOST), autoscale=policy)
            await store.add_cluster(cluster)
            await soon(
                "a port is allocated",
                lambda: writer_or_first(recorded(store, cluster)).metrics_port == 10_099,
            )
            use = DiskUse(used_mib=9 * GIB, free_mib=500 * GIB, disk_mib=1000 * GIB)
            await host.report(cluster.id, "node-1", report(use=use, storage_mib=cluster.storage_mib))
            await soon("storage grows", lambda: recorded(store, cluster).storage_mib == 20 * GIB)

            async def noted() -> bool:
                events = await store.events(cluster.id)
                return [event.note.what for event in events] == ["increased its storage (autoscaling)"]

            assert await noted()

    with_etcd(scenario)


def test_the_notes_of_agents_become_events_once(tmp_path: Path) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        sealer = Sealer(tmp_path / "k")
        async with opened_store(etcd) as store, agent(etcd) as host:
            cluster = msgspec.structs.replace(bare_cluster("one", 10_000, host=HOST))
            await store.add_cluster(cluster)
            for what in ("restarted PostgreSQL", "restarted PgBouncer"):
                await host.remember(cluster.id, "node-1", Note(what=what))
            for _ in range(2):  # the second controller finds them written
                async with at_work(store, sealer):
                    await soon(
                        "a port is allocated", lambda: writer_or_first(recorded(store, cluster)).metrics_port
                    )
                    await wait_for_events(store, cluster, 2)
            events = await store.events(cluster.id)
            assert [event.note.what for event in events] == ["restarted PgBouncer", "restarted PostgreSQL"]

    with_etcd(scenario)


async def wait_for_events(store: Store, cluster: Cluster, count: int) -> None:
    async with asyncio.timeout(10):
        while len(await store.event_ids(cluster.id)) != count:
            await asyncio.sleep(0.02)


def test_requests_for_certificates_are_signed_with_the_records_names(tmp_path: Path) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        sealer = Sealer(tmp_path / "k")
        async with opened_store(etcd) as store, agent(etcd) as host, at_work(store, sealer):
            certificate, key = certificates.new_authority("one")
            authority = msgspec.structs.replace(
                bare_cluster("x", 1).authority, certificate=certificate, sealed_key=sealer.seal(Secret(key))
            )
            cluster = msgspec.structs.replace(
                bare_cluster("one", 10_000, host=HOST),
                authority=authority,
                server_names=("h", *LOOPBACK),  # as the controller would have them
                service_names=("db.example.com",),
            )
            await store.add_cluster(cluster)
            _, request = certificates.new_request()
            await host.request_certificate(cluster.id, request)
            issued = await soon("it is issued", lambda: host.certificate(cluster.id))
            assert certificates.names_of(issued.encode()) == ("h", *LOOPBACK, "db.example.com")
            assert certificates.common_name(issued.encode()) == f"{HOST}.host.cenote"
            assert certificates.is_issued_by(issued.encode(), certificate)
            await soon("it is answered", lambda: store.certificate_request(HOST, cluster.id) is None)

            await host.request_certificate(cluster.id, "nonsense")
            await asyncio.sleep(0.3)
            assert host.certificate(cluster.id) == issued, "what is malformed ends nothing"

    with_etcd(scenario)


def test_the_controller_looks_at_all_again_after_a_lost_election(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elections, "LEASE_SECONDS", 3)
    monkeypatch.setattr(controllers, "RETRY_SECONDS", 0.2)

    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store, agent(etcd) as host:
            controller = Controller(store, Sealer(tmp_path / "k"), HOST, "d")
            task = asyncio.create_task(controller.run())
            try:
                await soon("it is elected", lambda: controller._election.is_elected)
                cluster = bare_cluster("one", 10_000, host=HOST)
                await store.add_cluster(cluster)
                await store.client.revoke_lease(controller._election._lease)
                await host.remember(cluster.id, "node-1", Note(what="restarted PostgreSQL"))
                await wait_for_events(store, cluster, 1)
            finally:
                await cancel(task)

    with_etcd(scenario)
