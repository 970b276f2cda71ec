"""The store as an agent sees it: reports, notes, and the presence of its host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from cenote.errors import Misconfigured, NotFound
from cenote.model.backups import BackupReport
from cenote.model.event_records import Note
from cenote.model.fleet_records import Host
from cenote.model.migrations import MigrationReport
from cenote.model.records import Cluster
from cenote.model.status_records import NodeStatus, RehearsalReport
from cenote.model.topology import node_key
from cenote.store import EtcdClient, HostStore, PrivateEtcd, Store, etcd_messages
from cenote.store.encoding import FORMAT, NewerFormat, encode
from cenote.store.host_store import MOST_NOTES
from tests.support.etcd import bare_cluster, opened_store, with_etcd
from tests.support.waiting import wait_until_async

ID = str(uuid4())
HOST = Host(
    id=ID, name="db-1", address="h", memory_mib=1, cpus=1, versions={}, first_port=10_000, last_port=10_099
)
NOW = datetime(2026, 5, 1, tzinfo=UTC)


@asynccontextmanager
async def agent(
    etcd: PrivateEtcd, directory: str = "d", *, killed: bool = False, keeps_backups: bool = True
) -> AsyncIterator[HostStore]:
    """The store of an agent; ``killed``: it withdraws nothing in the end."""
    client = EtcdClient(socket=etcd.socket)
    store = HostStore(client, ID, directory, keeps_backups=keeps_backups)
    try:
        await store.open()
        yield store
    finally:
        if killed and store._presence._keeper is not None:
            store._presence._keeper.cancel()
            store._presence._lease = 0
        await store.close()
        await client.close()


async def added(store: Store, host: HostStore, name: str = "one", port: int = 10_000) -> Cluster:
    cluster = bare_cluster(name, port, host=ID)
    await store.add_cluster(cluster)
    await wait_until_async("the agent has it", 10, lambda: host.cluster(cluster.id))
    return cluster


async def seen(store: Store, cluster: Cluster, report: NodeStatus) -> None:
    def is_there() -> bool:
        found = store.status(cluster.id, "node-1")
        return found is not None and msgspec.structs.replace(found, run="", notes=()) == report

    await wait_until_async("the report is there", 10, is_there)


def test_a_host_that_keeps_no_backups_any_more_tells_nothing_of_former_ones() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            first = NodeStatus(reached=1, at=NOW)
            async with agent(etcd) as host:
                cluster = await added(store, host)
                await host.report(cluster.id, "node-1", first)
                await host.backed_up(cluster.id, "node-1", BackupReport(unarchived="no space"))
            for keeps_backups in (True, False):
                async with agent(etcd, keeps_backups=keeps_backups) as host:
                    await host.report(cluster.id, "node-1", first)
                    found = host.status(cluster.id, "node-1")
                    assert found is not None
                    assert (found.backups is not None) is keeps_backups

    with_etcd(scenario)


def test_a_report_is_written_when_it_has_changed_and_once_by_each_run() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            first = NodeStatus(reached=1, at=NOW)
            async with agent(etcd) as host:
                cluster = await added(store, host)
                await host.report(cluster.id, "node-1", first)
                await seen(store, cluster, first)
                await wait_until_async("it came back", 10, lambda: host._tables.reports)
                before = await store.client.revision("/")
                later = msgspec.structs.replace(first, at=datetime.now(UTC))
                await host.report(cluster.id, "node-1", later)
                assert await store.client.revision("/") == before
                run = host.run
            async with agent(etcd) as host:
                assert host.run != run
                assert host.status(cluster.id, "node-1") == msgspec.structs.replace(first, run=run)
                await host.report(cluster.id, "node-1", first)
                await wait_until_async(
                    "the run is that of this agent",
                    10,
                    lambda: (found := store.status(cluster.id, "node-1")) and found.run == host.run,
                )

    with_etcd(scenario)


@pytest.mark.parametrize("what", ["backups", "a migration", "a rehearsal", "an event"])
def test_what_is_told_beside_a_pass_takes_back_nothing_of_its_report(what: str) -> None:
    """They come from other tasks, while the report of a pass is on its way."""

    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store, agent(etcd) as host:
            cluster = await added(store, host)
            beside: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
                "backups": lambda: host.backed_up(cluster.id, "node-1", BackupReport(unarchived="no space")),
                "a migration": lambda: host.migrated(cluster.id, "node-1", MigrationReport(id=uuid4())),
                "a rehearsal": lambda: host.rehearsed(cluster.id, "node-1", RehearsalReport(version="16")),
                "an event": lambda: host.remember(cluster.id, "node-1", Note(what="an event")),
            }
            await host.report(cluster.id, "node-1", NodeStatus(reached=1, at=NOW))
            last = NodeStatus(reached=2, at=NOW, removed=True)
            reporting = asyncio.create_task(host.report(cluster.id, "node-1", last))
            await asyncio.sleep(0)  # it is on its way, and not written yet
            await beside[what]()
            await reporting
            found = host.status(cluster.id, "node-1")
            assert found is not None
            assert (found.reached, found.removed) == (2, True)
            told = (found.backups, found.migration, found.rehearsal, found.notes)
            assert any(told)

    with_etcd(scenario)


def test_a_report_that_the_store_has_lost_is_written_again() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store, agent(etcd) as host:
            cluster = await added(store, host)
            report = NodeStatus(reached=1, at=NOW)
            await host.report(cluster.id, "node-1", report)
            await seen(store, cluster, report)
            await wait_until_async("it came back", 10, lambda: host._tables.reports)
            assert host.has_report(cluster.id, "node-1")
            lost = etcd_messages.delete(store.keys.report(ID, cluster.id, "node-1"))
            await store.client.transact(etcd_messages.TransactionRequest([], [lost], []))
            await wait_until_async("it is lost", 10, lambda: not host._tables.reports)
            assert not host.has_report(cluster.id, "node-1")
            await host.report(cluster.id, "node-1", report)
            await seen(store, cluster, report)

    with_etcd(scenario)


def test_nothing_is_reported_on_a_cluster_that_is_forgotten() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store, agent(etcd) as host:
            cluster = await added(store, host)
            await store.forget_cluster(cluster.id)
            await host.report(cluster.id, "node-1", NodeStatus(reached=1, at=NOW))
            with pytest.raises(NotFound):
                await host.request_certificate(cluster.id, "request")
            assert await store.client.read(store.keys.report(ID, cluster.id, "node-1")) is None

    with_etcd(scenario)


def test_the_newest_notes_travel_in_reports_and_outlive_the_agent() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            async with agent(etcd) as host:
                cluster = await added(store, host)
                for number in range(MOST_NOTES + 1):
                    await host.remember(cluster.id, "node-1", Note(what=f"change {number}"))
            async with agent(etcd) as host:
                await host.report(cluster.id, "node-1", NodeStatus(reached=1, at=NOW))
                await host.remember(cluster.id, "node-1", Note(what="the last"))

                def notes() -> list[str]:
                    found = store.status(cluster.id, "node-1")
                    assert found is not None
                    assert [note.id for note in found.notes] == sorted(note.id for note in found.notes)
                    return [note.note.what for note in found.notes]

                wanted = [*(f"change {number}" for number in range(2, MOST_NOTES + 1)), "the last"]
                await wait_until_async("all notes are there", 10, lambda: notes() == wanted)

    with_etcd(scenario)


def test_an_event_of_a_new_agent_does_not_make_the_former_ones_report_its_own() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            async with agent(etcd) as former:
                cluster = await added(store, former)
                await former.report(cluster.id, "node-1", NodeStatus(reached=1, at=NOW))
            async with agent(etcd) as host:
                await host.remember(cluster.id, "node-1", Note(what="a change"))

                def has_it() -> bool:
                    found = store.status(cluster.id, "node-1")
                    return found is not None and [note.note.what for note in found.notes] == ["a change"]

                await wait_until_async("the note is there", 10, has_it)
                found = store.status(cluster.id, "node-1")
                assert found is not None
                assert found.run == former.run != host.run
                assert host.unseen() == [node_key(cluster.id, "node-1")]

    with_etcd(scenario)


def test_a_host_is_present_until_its_agent_ends_and_known_for_ever() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            async with agent(etcd) as host:
                await host.announce(HOST)
                await wait_until_async("it is present", 10, store.hosts)
                assert store.presences()[ID].run == host.run
            await wait_until_async("it is away", 10, lambda: not store.hosts())
            known = store.host(ID)
            assert known is not None
            assert known.name == "db-1"
            assert known.seen_at is not None

    with_etcd(scenario)


def test_the_presence_names_the_nodes_that_were_not_seen_since_the_start() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            async with agent(etcd) as host:
                cluster = await added(store, host)
                await host.report(cluster.id, "node-1", NodeStatus(reached=1, at=NOW))
            async with agent(etcd) as host:
                label = f"{cluster.id}/node-1"
                await wait_until_async("it is present", 10, store.presences)
                assert store.presences()[ID].unseen == (label,)
                assert not await host.announce(HOST, stalled=[label])
                await host.report(cluster.id, "node-1", NodeStatus(reached=1, at=NOW))
                assert await host.announce(HOST, stalled=[label])
                await wait_until_async("it was seen", 10, lambda: not store.presences()[ID].unseen)
                assert store.presences()[ID].stalled == (label,)

    with_etcd(scenario)


def test_an_agent_takes_over_from_a_killed_one_of_its_directory_at_once() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            async with agent(etcd, killed=True) as former:
                await former.announce(HOST)
            async with asyncio.timeout(3), agent(etcd) as host:
                await wait_until_async("it is present", 2, lambda: present(store) == host.run)

    with_etcd(scenario)


def present(store: Store) -> str:
    found = store.presences().get(ID)
    return "" if found is None else found.run


def test_an_agent_of_a_copied_directory_is_refused_and_leaves_the_other_one_present() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store, agent(etcd, "original") as host:
            with pytest.raises(Misconfigured, match="is a copy of this one"):
                async with agent(etcd, "copy"):
                    pass
            assert present(store) == host.run

    with_etcd(scenario)


def test_a_record_of_a_newer_format_is_an_error_and_not_absent(tmp_path: Path) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store, agent(etcd) as host:
            cluster = await added(store, host)
            await host.report(cluster.id, "node-1", NodeStatus(reached=1, at=NOW))
            value = encode(cluster).replace(b'"format":2', b'"format":%d' % (FORMAT + 1))
            put = etcd_messages.put(store.keys.cluster(cluster.id), value)
            await store.client.transact(etcd_messages.TransactionRequest([], [put], []))

            def is_newer() -> bool:
                try:
                    host.cluster(cluster.id)
                except NewerFormat:
                    return True
                return False

            await wait_until_async("it is newer", 10, is_newer)
            await wait_until_async(
                "its node is known", 10, lambda: host.reported_nodes(cluster.id) == ["node-1"]
            )
            assert host.unseen() == []

    with_etcd(scenario)
