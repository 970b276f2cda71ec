from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from cenote.errors import Invalid, Misconfigured, Unavailable
from cenote.model.fleet_records import Host
from cenote.model.records import Cluster
from cenote.store import EtcdClient, Store, cache, host_store, retry
from cenote.store.etcd_messages import TransactionRequest, put
from cenote.store.process import PrivateEtcd
from tests.support.etcd import back_after, bare_cluster, kill, opened_store, proxy, with_etcd
from tests.support.hosts import hosts_of
from tests.support.waiting import wait_until_async

pytestmark = pytest.mark.long

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOST = Host(
    id="h1", name="h1", address="127.0.0.1", memory_mib=1, cpus=1, versions={}, first_port=1, last_port=2
)


AGENT = """
import asyncio, pathlib, sys
from cenote.model.fleet_records import Host
from cenote.store import EtcdClient, host_store

async def main():
    host_store.PRESENCE_SECONDS = 2
    store = host_store.HostStore(EtcdClient(socket=pathlib.Path(sys.argv[1])), "h1")
    await store.open()
    host = Host(id="h1", name="h1", address="", memory_mib=1, cpus=1, versions={}, first_port=1, last_port=2)
    await store.announce(host)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@asynccontextmanager
async def watched(etcd: PrivateEtcd) -> AsyncIterator[None]:
    watching = asyncio.create_task(etcd.watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def with_tag(cluster: Cluster, tag: str) -> Cluster:
    if tag in cluster.tags:
        raise Invalid(f"{tag} is there")
    return msgspec.structs.replace(cluster, tags=(*cluster.tags, tag))


async def add_tag(store: Store, id: UUID, tag: str) -> None:
    await store.update_cluster(id, lambda old: with_tag(old, tag))


def test_a_create_whose_answer_was_lost_is_no_conflict_with_itself() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with proxy(etcd) as between, opened_store(between) as store:
            cluster = bare_cluster("a", 25060)
            between.answers_to_lose = 3
            revision = await store.add_cluster(cluster)
            assert between.answers_to_lose == 0
            stored = store.cluster(cluster.id)
            assert stored is not None
            assert stored.revision == revision

    with_etcd(scenario)


def test_a_change_whose_answer_was_lost_is_made_once_also_when_others_change_on() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with proxy(etcd) as between, opened_store(between) as store, opened_store(etcd) as other:
            cluster = bare_cluster("a", 25060)
            await store.add_cluster(cluster)

            async def change_on() -> None:
                await other.wait(
                    lambda: ((found := other.cluster(cluster.id)) and found.value.tags) or None, 10
                )
                await other.update_cluster(cluster.id, lambda old: msgspec.structs.replace(old, tags=("z",)))

            changing = asyncio.create_task(change_on())
            between.answers_to_lose = 1
            stored = await store.update_cluster(cluster.id, lambda old: with_tag(old, "t"))
            assert stored.value.tags == ("t",)
            await changing
            final = await other.update_cluster(cluster.id, lambda old: old)
            assert final.value.tags == ("z",)

    with_etcd(scenario)


def test_a_deletion_and_a_removal_whose_answers_were_lost_are_done() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with proxy(etcd) as between, opened_store(between) as store:
            cluster = bare_cluster("a", 25060)
            await store.add_cluster(cluster)
            between.answers_to_lose = 1
            assert (await store.delete_cluster(cluster.id, NOW)).value.deleted_at == NOW
            between.answers_to_lose = 1
            await store.forget_cluster(cluster.id)
            assert store.cluster(cluster.id) is None
            assert between.answers_to_lose == 0

    with_etcd(scenario)


def test_killing_etcd_under_load_loses_nothing_and_doubles_nothing() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with watched(etcd), opened_store(etcd) as store, opened_store(etcd) as other:
            shared = bare_cluster("shared", 20000)
            await store.add_cluster(shared)
            added: dict[str, Cluster] = {}
            tags: set[str] = set()
            busy = True

            async def work(worker: int, store: Store) -> None:
                number = 0
                while busy:
                    name = f"{worker}-{number}"
                    cluster = bare_cluster(name, 25060 + 2 * (worker * 2000 + number), host=f"h{worker}")
                    await store.add_cluster(cluster)
                    added[name] = cluster
                    await add_tag(store, shared.id, name)
                    tags.add(name)
                    number += 1

            workers = [asyncio.create_task(work(n, (store, other)[n % 2])) for n in range(6)]
            for _ in range(5):
                await asyncio.sleep(random.uniform(0.1, 0.4))
                await back_after(kill(etcd), etcd)
            await asyncio.sleep(0.2)
            busy = False
            await asyncio.gather(*workers)

        assert added
        async with opened_store(etcd) as fresh:
            found = {stored.value.name: stored.value for stored in fresh.clusters()}
            kept = found.pop("shared").tags
            assert found == added
            assert len(kept) == len(set(kept))
            assert set(kept) == tags
            claims = {port for number in range(6) for port in fresh.ports(f"h{number}")}
            assert len(claims) == 2 * len(added)

    with_etcd(scenario)


def test_reads_go_on_while_etcd_is_away_and_writes_wait_for_it() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            cluster = bare_cluster("a", 25060)
            await store.add_cluster(cluster)
            await etcd.stop()
            await wait_until_async("the loss is noticed", 10, lambda: not store.connected)
            assert store.cluster_by_name("a") == store.cluster(cluster.id) is not None
            writing = asyncio.create_task(store.add_cluster(bare_cluster("b", 25070)))
            await asyncio.sleep(0.1)
            assert not writing.done()
            await etcd.start()
            await writing
            await wait_until_async("changes come in again", 10, lambda: store.connected)
            assert store.cluster_by_name("b") is not None

    with_etcd(scenario)


def test_a_write_gives_up_when_etcd_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "RETRY_SECONDS", 0.3)

    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            await etcd.stop()
            with pytest.raises(Unavailable):
                await store.add_cluster(bare_cluster("a", 25060))
            with pytest.raises(Unavailable):
                await store.forget_cluster(uuid4())

    with_etcd(scenario)


def test_a_store_cannot_be_opened_without_etcd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "RETRY_SECONDS", 0.1)

    async def scenario(etcd: PrivateEtcd) -> None:
        await etcd.stop()
        with pytest.raises(Unavailable, match="cannot be reached"):
            async with opened_store(etcd):
                pass

    with_etcd(scenario)


def test_removals_are_seen_after_a_break_in_which_the_history_was_compacted() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with proxy(etcd) as between, opened_store(between) as away, opened_store(etcd) as store:
            gone, kept, changed = (
                bare_cluster(name, port) for name, port in zip("abc", (1, 11, 21), strict=True)
            )
            for cluster in (gone, kept, changed):
                await store.add_cluster(cluster)
            await away.wait(lambda: len(away.clusters()) == 3 or None, 10)
            with away.changes() as changes:
                assert {await anext(changes) for _ in range(3)} == {gone.id, kept.id, changed.id}
                await between.shut()
                await wait_until_async("the break is noticed", 10, lambda: not away.connected)
                await store.forget_cluster(gone.id)
                await store.update_cluster(changed.id, lambda old: with_tag(old, "t"))
                new = bare_cluster("d", 31)
                await store.add_cluster(new)
                gateway = EtcdClient(socket=etcd.socket)
                await gateway.compact(store.revision)
                await gateway.close()
                await between.open()
                told = {await asyncio.wait_for(anext(changes), 10) for _ in range(3)}
            assert told == {gone.id, changed.id, new.id}
            assert away.cluster(gone.id) is None
            assert away.ports("here") == store.ports("here")
            assert sorted(away.clusters(), key=lambda one: one.revision) == sorted(
                store.clusters(), key=lambda one: one.revision
            )

    with_etcd(scenario)


def test_an_etcd_that_was_made_anew_is_listed_from_its_beginning() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            for number in range(5):
                await store.add_cluster(bare_cluster(f"c{number}", 25060 + 2 * number))
            await etcd.stop()
            shutil.rmtree(etcd.socket.parent / "data")
            await etcd.start()
            assert await store.wait(lambda: not store.clusters() or None, 10)
            await store.add_cluster(bare_cluster("c0", 25060))
            assert len(store.clusters()) == 1

    with_etcd(scenario)


def test_a_store_with_records_that_cannot_be_read_is_not_opened() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        gateway = EtcdClient(socket=etcd.socket)
        key = f"/cenote/v2/clusters/{uuid4()}"
        await gateway.transact(TransactionRequest([], [put(key, b'{"from": "the future"}')], []))
        await gateway.close()
        with pytest.raises(Misconfigured, match=key):
            async with opened_store(etcd):
                pass

    with_etcd(scenario)


def test_a_record_that_can_no_longer_be_read_is_not_taken_for_removed() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            cluster = bare_cluster("a", 25060)
            await store.add_cluster(cluster)
            gateway = EtcdClient(socket=etcd.socket)
            key = f"/cenote/v2/clusters/{cluster.id}"
            answer = await gateway.transact(TransactionRequest([], [put(key, b"{}")], []))
            await gateway.close()
            assert await store.wait(lambda: store.revision >= answer.header.revision or None, 10)
            stored = store.cluster(cluster.id)
            assert stored is not None
            assert stored.value == cluster

    with_etcd(scenario)


async def leases_of(etcd: PrivateEtcd, key: str) -> list[str]:
    """What etcd itself says, without any of our code between."""
    encoded = msgspec.json.decode(msgspec.json.encode(key.encode()))
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(etcd.socket))) as client:
        answer = await client.post("http://etcd/v3/kv/range", json={"key": encoded})
        return [one["lease"] for one in answer.json().get("kvs", [])]


def test_a_host_vanishes_when_the_one_who_announced_it_is_killed() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            agent = await asyncio.create_subprocess_exec(sys.executable, "-c", AGENT, str(etcd.socket))
            try:
                assert await store.wait(lambda: store.hosts() or None, 30)
                await asyncio.sleep(5)  # longer than the lease: it is kept alive
                assert [host.name for host in store.hosts()] == ["h1"]
                agent.kill()
                assert await store.wait(lambda: not store.hosts() or None, 30)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    agent.kill()
                await agent.wait()

    with_etcd(scenario)


def test_a_host_whose_lease_was_lost_is_announced_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_store, "PRESENCE_SECONDS", 2)

    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store, hosts_of(etcd, store) as hosts:
            await hosts.announce(HOST)
            (lease,) = await leases_of(etcd, "/cenote/v2/presence/h1")
            gateway = EtcdClient(socket=etcd.socket)
            await gateway.revoke_lease(int(lease))
            await gateway.close()
            assert await store.wait(lambda: not store.hosts() or None, 10)
            assert await store.wait(lambda: store.hosts() or None, 10)

    with_etcd(scenario)


def test_a_host_can_be_announced_anew_and_its_record_outlives_its_presence() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            async with hosts_of(etcd, store) as hosts:
                await hosts.announce(HOST)
                await hosts.announce(msgspec.structs.replace(HOST, cpus=8))
            assert await store.wait(lambda: not store.hosts() or None, 10)
            host = store.host("h1")
            assert host is not None
            assert host.cpus == 8
            assert store.known_hosts() == [host]

    with_etcd(scenario)


def test_marks_that_outlived_their_lease_do_not_stop_writing() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            await store.add_cluster(bare_cluster("a", 25060))
            async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(etcd.socket))) as client:
                answer = await client.post("http://etcd/v3/lease/leases", json={})
                for lease in answer.json()["leases"]:
                    await client.post("http://etcd/v3/lease/revoke", json=lease)
            await store.add_cluster(bare_cluster("b", 25070))

    with_etcd(scenario)


def test_a_write_that_is_not_seen_in_time_is_not_called_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SEEN_SECONDS", 0.05)

    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_store(etcd) as store:
            await store._cache.close()
            cluster = bare_cluster("a", 25060)
            await store.add_cluster(cluster)
        async with opened_store(etcd) as fresh:
            assert fresh.cluster(cluster.id) is not None

    with_etcd(scenario)
