"""What a real store keeps of the past: replaced records, events, tombstones, and for how long."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
from msgspec.structs import replace

from cenote.model.event_records import Event, Note
from cenote.model.records import Cluster
from cenote.store import EtcdClient, PrivateEtcd, Store, audit_log, history, pruning, thinning
from cenote.store.encoding import encode
from cenote.store.etcd_messages import TransactionRequest, put
from cenote.store.event_ids import new_id
from cenote.store.migration import prepare_store
from tests.support.etcd import bare_cluster, opened_store, with_etcd
from tests.support.waiting import wait_until_async

NOW = datetime.now(UTC)


def tagged(tag: str) -> Note:
    return Note(what=tag)


async def change(store: Store, id: UUID, tag: str, *, only: bool = False) -> Cluster:
    """Add a tag to a cluster, or make it the only one."""

    def tags(old: Cluster) -> Cluster:
        return replace(old, tags=(tag,) if only else (*old.tags, tag))

    return (await store.update_cluster(id, tags, tagged(tag[:20]))).value


def test_each_record_that_a_change_replaces_is_kept_until_the_cluster_is_long_gone() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            cluster = bare_cluster("a", 25060)
            await store.add_cluster(cluster)
            values = [cluster]
            for tag in ("one", "two"):
                values.append(await change(store, cluster.id, tag))
            await store.update_cluster(cluster.id, lambda old: old)
            values.append((await store.delete_cluster(cluster.id, NOW)).value)
            await store.forget_cluster(cluster.id)
            past = await store.past_records(cluster.id)
            assert [record for _, record in past] == values
            times = [at for at, _ in past]
            assert times == sorted(times)
            assert await store.prune(datetime.now(UTC)) == 0
            later = datetime.now(UTC) + history.KEPT_FOR
            assert await store.prune(later) == len(values)
            assert await store.past_records(cluster.id) == []
            assert store.tombstone(cluster.id) is not None
            await store.prune(datetime.now(UTC) + pruning.TOMBSTONES_FOR)
            assert store.tombstone(cluster.id) is None or await store.wait(
                lambda: store.tombstone(cluster.id) is None or None, 10
            )

    with_etcd(scenario)


def test_the_history_of_a_large_record_is_thinned_before_the_next_pruning() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            cluster = bare_cluster("large", 25060)
            await store.add_cluster(cluster)
            for _ in range(30):
                text = os.urandom(150_000).hex()  # which no compression makes smaller than 150 kB
                await change(store, cluster.id, text, only=True)

            async def size() -> int:
                folder = store.keys.history(cluster.id)
                pages = [page async for page in store.client.pages(folder, 100)]
                return sum(len(found.value) for page in pages for found in page.found)

            async def is_small() -> bool:
                return await size() <= history.MOST_BYTES + thinning.EVERY_BYTES

            await wait_until_async("the history is thinned", 20, is_small)
            assert await size() > history.MOST_BYTES // 2  # and no more than that

    with_etcd(scenario)


def test_a_change_that_is_refused_keeps_nothing() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as one, opened_store(etcd) as other:
            cluster = bare_cluster("a", 25060)
            await one.add_cluster(cluster)
            for number in range(10):
                await change((one, other)[number % 2], cluster.id, str(number))
            assert len(await one.past_records(cluster.id)) == 10

    with_etcd(scenario)


def test_an_ephemeral_store_keeps_no_past() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        client = EtcdClient(socket=etcd.socket)
        store = Store(client, ephemeral=True)
        try:
            await store.open()
            cluster = bare_cluster("a", 25060)
            await store.add_cluster(cluster)
            await change(store, cluster.id, "t")
            assert await store.past_records(cluster.id) == []
        finally:
            await store.close()
            await client.close()

    with_etcd(scenario)


def test_events_are_read_by_cluster_and_are_in_nobodys_memory() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            one, other = bare_cluster("a", 25060), bare_cluster("b", 25070)
            await store.add_cluster(one, tagged("made a"))
            await store.add_cluster(other, tagged("made b"))
            await change(store, one.id, "t")
            assert [event.note.what for event in await store.events(one.id)] == ["t", "made a"]
            newest, count = await store.audit(None, 2)
            assert [event.note.what for event in newest] == ["t", "made b"]
            assert count == 3
            assert await store.events(uuid4()) == []
        async with opened_store(etcd) as again:
            kept = "".join(again._cache._known)
            assert "/clusters/" in kept
            assert "/events/" not in kept
            assert "/history/" not in kept
            assert "/marks/" not in kept

    with_etcd(scenario)


def test_the_oldest_events_beyond_the_limits_are_pruned() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            cluster, token = bare_cluster("a", 25060), uuid4()
            await store.add_cluster(cluster, tagged("made"))
            made = [
                Event(
                    id=new_id(at),
                    at=at,
                    note=Note(what=str(number), token_id=token),
                    cluster_id=cluster.id,
                )
                for number in range(audit_log.MOST_OF_A_TOKEN + 20)
                if (at := NOW - timedelta(hours=1) + timedelta(seconds=number))
            ]
            client, keys = store._client, store.keys
            for start in range(0, len(made), 100):
                puts = [
                    put(keys.event(one.cluster_id, one.id), encode(one)) for one in made[start : start + 100]
                ]
                await client.transact(TransactionRequest([], puts, []))
            assert await store.prune(datetime.now(UTC)) == 20
            kept = await store.events(cluster.id)
            # In the order of writing, whatever the clock said meanwhile.
            assert [event.id for event in kept[:-1]] == [event.id for event in reversed(made[20:])]
            assert kept[-1].note.what == "made"
            assert await store.prune(datetime.now(UTC)) == 0

    with_etcd(scenario)


def test_the_newest_of_many_events_that_a_migration_wrote_at_once_are_the_newest() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        client = EtcdClient(socket=etcd.socket)
        try:
            events = [Event(id=f"{number:020x}", at=NOW, note=tagged(str(number))) for number in range(150)]
            for start in (0, 100):
                puts = [
                    put(f"/cenote/events/{one.id}", msgspec.json.encode(one))
                    for one in events[start : start + 100]
                ]
                await client.transact(TransactionRequest([], puts, []))
            await prepare_store(client, "/cenote/", host_id="h", host_name="h", reseal=lambda sinks: sinks)
            async with opened_store(etcd) as store:
                newest, count = await store.audit(None, 20)
                assert [event.note.what for event in newest] == [
                    str(number) for number in range(149, 129, -1)
                ]
                assert count == 150
        finally:
            await client.close()

    with_etcd(scenario)
