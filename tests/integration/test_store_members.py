"""An etcd of several members: it grows in place, and goes on while one of three is away."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cenote.errors import Misconfigured, Unavailable
from cenote.store import member_file, members
from cenote.store.client import EtcdClient, EtcdError
from cenote.store.etcd_folder import EtcdFolder
from cenote.store.etcd_messages import TransactionRequest, put
from cenote.store.etcd_options import name_of
from cenote.store.member_file import Addresses, Seat
from cenote.store.process import PrivateEtcd
from cenote.store.store import Store
from tests.support.etcd import bare_cluster, etcd_program
from tests.support.store_members import StoreHosts, closing, with_store_hosts
from tests.support.waiting import wait_until_async


async def voters(client: EtcdClient) -> list[str]:
    return sorted(one.name for one in await members.listed(client) if not one.is_learner)


def test_one_that_was_alone_grows_in_place_to_three_with_its_records() -> None:
    async def scenario(hosts: StoreHosts) -> None:
        first = hosts.hosts[0]
        await first.etcd.stop()
        alone = PrivateEtcd(first.folder / "alone", etcd_program())
        await alone.start()
        async with closing(EtcdClient(socket=alone.socket)) as client:
            await client.transact(TransactionRequest([], [put("/cenote/key", b"kept")], []))
        grown = PrivateEtcd(first.folder / "alone", etcd_program(), member=first.etcd.member)
        pid = alone.pid
        try:
            await grown.start()
            assert grown.pid not in (None, pid)
            async with closing(EtcdClient(socket=grown.socket)) as client:
                assert [one.peer_urls for one in await members.listed(client)] == [[first.listening.peer_url]]
                for _ in range(2):
                    await hosts.join(client)
                assert await voters(client) == sorted(name_of(host.id) for host in hosts.hosts)
            async with closing(hosts.client(order=(2, 1))) as client:
                found = await client.read("/cenote/key")
                assert found is not None
                assert found.value == b"kept"
        finally:
            await grown.stop()

    with_store_hosts(1, scenario)


def test_a_second_learner_has_to_wait_until_the_first_is_a_voter() -> None:
    async def scenario(hosts: StoreHosts) -> None:
        async with closing(hosts.client()) as client:
            await hosts.join(client, promoted=False)
            with pytest.raises(EtcdError, match="learner"):
                await hosts.join(client)

    with_store_hosts(1, scenario)


class Watcher:
    """Writes a cluster's record every few milliseconds, and notes the gaps; another client watches."""

    def __init__(self, writer: EtcdClient, reader: Store) -> None:
        self.writer, self.reader = writer, reader
        self.longest = 0.0
        self.written = 0

    async def write(self) -> None:
        last = time.monotonic()
        while True:
            with contextlib.suppress(Unavailable):
                key = f"/cenote/v2/other/{self.written % 10}"
                await self.writer.transact(TransactionRequest([], [put(key, b"x")], []))
                self.written += 1
                self.longest = max(self.longest, time.monotonic() - last)
                last = time.monotonic()
            await asyncio.sleep(0.005)


# Whose member, how it is lost, and whether it leads.
LOSSES = {
    "own member, which leads, killed": (0, signal.SIGKILL, True),
    "own member, which leads, frozen": (0, signal.SIGSTOP, True),
    "own member, which follows, frozen": (0, signal.SIGSTOP, False),
    "another, which leads, frozen": (1, signal.SIGSTOP, True),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_clients_go_on_when_one_of_three_is_lost(loss: str) -> None:
    number, how, leads = LOSSES[loss]

    async def scenario(hosts: StoreHosts) -> None:
        async with closing(hosts.client()) as client, closing(hosts.client(own=2)) as other:
            store = Store(client)
            await store.open()
            await hosts.have_leader(number if leads else 2)
            load = Load(client)
            writing = asyncio.create_task(load.write())
            await wait_until_async("it writes", 5, lambda: load.written > 20)
            hosts.hosts[number].signal(how)
            await asyncio.sleep(0.5)
            written = load.written
            await wait_until_async("it writes again", 15, lambda: load.written > written + 20)
            cluster = bare_cluster("after", 25060)
            async with opened(other) as theirs:
                await theirs.add_cluster(cluster)
            await wait_until_async("the watch goes on", 10, lambda: store.cluster_by_name("after"))
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            assert load.longest < 8
            await store.close()

    with_store_hosts(3, scenario)


class Load:
    """Writes all the time, and knows the longest time without a write."""

    def __init__(self, client: EtcdClient) -> None:
        self._client = client
        self.longest, self.written = 0.0, 0

    async def write(self) -> None:
        last = time.monotonic()
        while True:
            with contextlib.suppress(Unavailable):
                key = f"/cenote/v2/other/{self.written % 10}"
                await self._client.transact(TransactionRequest([], [put(key, b"x")], []))
                self.written += 1
                self.longest = max(self.longest, time.monotonic() - last)
                last = time.monotonic()
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def opened(client: EtcdClient) -> AsyncIterator[Store]:
    store = Store(client)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def kept(client: EtcdClient) -> bytes | None:
    found = await client.read("/cenote/key")
    return None if found is None else found.value


@pytest.mark.parametrize("learner", [True, False])
def test_what_one_has_is_recovered_when_the_others_are_lost(learner: bool) -> None:
    async def scenario(hosts: StoreHosts) -> None:
        async with closing(hosts.client()) as client:
            if learner:
                await hosts.join(client, promoted=False)
            for number in range(200):
                value = f"{number}".encode()
                await client.transact(TransactionRequest([], [put("/cenote/key", value)], []))
        *lost, last = hosts.hosts
        for host in lost:
            host.signal(signal.SIGKILL)
        await last.etcd.start_alone(learner=learner)
        async with closing(EtcdClient(socket=last.etcd.socket)) as client:
            assert await kept(client) == b"199"
            assert await voters(client) == [name_of(last.id)]
            await client.transact(TransactionRequest([], [put("/cenote/key", b"after")], []))
            for _ in range(2):
                await hosts.join(client)
            assert len(await voters(client)) == 3
        await last.etcd.stop()
        await last.etcd.start()
        async with closing(EtcdClient(socket=last.etcd.socket)) as client:
            assert await kept(client) == b"after"

    with_store_hosts(1 if learner else 3, scenario)


def test_a_recovery_that_was_cut_short_is_repeated_and_loses_no_copy(tmp_path: Path) -> None:
    """Whenever it was cut off, the data or what replaces them are there."""
    folder = EtcdFolder(tmp_path)
    records = tmp_path / "data" / "member" / "snap" / "db"
    records.parent.mkdir(parents=True)
    records.write_bytes(b"first")
    assert folder.keep_copy().name == "data-before-recovery"
    records.write_bytes(b"second")
    second = folder.keep_copy()
    assert second.name == "data-before-recovery-2"
    assert (tmp_path / "data-before-recovery" / "member" / "snap" / "db").read_bytes() == b"first"
    assert (second / "member" / "snap" / "db").read_bytes() == b"second"

    (tmp_path / "data.new").mkdir()  # cut off while it was made
    folder.finish_replacement()
    assert records.read_bytes() == b"second"
    (tmp_path / "data").rename(tmp_path / "data.replaced")  # cut off between two renames
    assert not (tmp_path / "data").exists()
    (tmp_path / "data.new" / "member").mkdir()
    folder.finish_replacement()
    assert folder.has_data
    assert not (tmp_path / "data.replaced").exists()
    assert not (tmp_path / "data.new").exists()


def test_a_member_with_a_vote_is_not_taken_for_a_learner() -> None:
    """An etcd that does not start for another reason is left as it is."""

    async def scenario(hosts: StoreHosts) -> None:
        [host] = hosts.hosts
        await host.etcd.stop()
        broken = PrivateEtcd(host.folder / "etcd", Path("/bin/false"), member=host.etcd.member)
        records = host.folder / "etcd" / "data" / "member" / "snap" / "db"
        before = records.read_bytes()
        with pytest.raises(Misconfigured, match="etcd ended"):
            await broken.start_alone(learner=False)
        assert records.read_bytes() == before
        await host.etcd.start()

    with_store_hosts(1, scenario)


def test_a_member_that_has_lost_its_data_is_no_new_store_and_is_replaced() -> None:
    async def scenario(hosts: StoreHosts) -> None:
        last = hosts.hosts[2]
        async with closing(hosts.client()) as client:
            former = next(one for one in await members.listed(client) if one.name == name_of(last.id))
            await last.lose()
            with pytest.raises(Misconfigured, match="cenote store replace"):
                await last.etcd.start()
            await members.remove(client, former.id)
            await hosts.start_member(client, last)
            assert len(await voters(client)) == 3
        await last.etcd.stop()
        last.etcd.folder.put_data_aside()
        assert not last.etcd.has_data

    with_store_hosts(3, scenario)


def test_where_to_ask_follows_the_file_of_members(tmp_path: Path) -> None:
    path, socket = tmp_path / "members.json", tmp_path / "socket"
    addresses = Addresses(path, "a", socket)
    assert addresses() == [socket]
    member_file.write(path, (Seat("a", "https://a", voter=False), Seat("b", "https://b")))
    assert addresses() == ["https://b"]
    member_file.write(path, (Seat("a", "https://a"), Seat("b", "https://b"), Seat("c", "https://c", False)))
    assert addresses() == [socket, "https://b"]
    assert Addresses(path, "c", None)() == ["https://a", "https://b"]
    path.write_bytes(b"half of a fi")
    assert addresses() == [socket]
