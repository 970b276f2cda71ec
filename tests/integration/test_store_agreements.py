"""What is followed of Patroni's keys in the store: few of them, and each change of those."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from uuid import UUID, uuid4

from cenote.errors import Unavailable
from cenote.model.failover import NOTHING_AGREED, Agreed
from cenote.store import etcd_messages
from cenote.store.agreements import Agreements
from cenote.store.client import EtcdClient
from cenote.store.etcd_messages import EtcdOperation, TransactionRequest, delete, put
from cenote.store.failover_requests import FailoverRequests
from cenote.store.keys import Keys
from cenote.store.process import PrivateEtcd
from tests.support.etcd import back_after, kill, with_etcd
from tests.support.waiting import wait_until_async

KEYS = Keys("/cenote/")
SECONDS = 20


class Followed:
    """Agreements on an etcd, with the clusters that were told."""

    def __init__(self, client: EtcdClient) -> None:
        self.told: list[UUID] = []
        self.client = client
        self.agreements = Agreements(client, KEYS, self._tell)

    def _tell(self, ids: Iterable[UUID]) -> None:
        self.told += ids

    async def write(self, *operations: EtcdOperation) -> None:
        await self.client.transact(TransactionRequest([], list(operations), []))

    async def becomes(self, id: UUID, wanted: Agreed) -> None:
        await wait_until_async(f"it is {wanted}", SECONDS, lambda: self.agreements.of(id) == wanted)


def key(id: UUID, name: str) -> str:
    return KEYS.failover_of(id) + name


def test_who_leads_is_followed_and_what_patroni_writes_each_second_tells_nobody() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        followed = Followed(EtcdClient(socket=etcd.socket))
        ours, other = uuid4(), uuid4()
        await followed.write(put(key(ours, "leader"), b"node-1"), put(key(ours, "initialize"), b"7"))
        await followed.agreements.open()
        assert followed.agreements.of(ours) == Agreed(leader="node-1", identifier="7")
        assert followed.agreements.of(other) == NOTHING_AGREED
        followed.told.clear()
        followed.agreements.follow()
        for number in range(50):
            noise = str(number).encode()
            await followed.write(
                put(key(ours, "status"), noise),
                put(key(ours, "members/node-1"), noise),
                put(key(ours, "members/leader"), noise),  # a node may not be named so, and yet
                put(key(ours, "leader"), b"node-1"),  # what is written again as it was
            )
        await followed.write(put(key(ours, "config"), b"{}"), put(key(other, "leader"), b"node-3"))
        await followed.becomes(ours, Agreed(leader="node-1", identifier="7", shared=b"{}"))
        await followed.becomes(other, Agreed(leader="node-3"))
        assert sorted(followed.told) == sorted([ours, other])
        for blanks in (b"{} ", b"{}"):  # which have Patroni look, for a switch
            await followed.write(put(key(ours, "config"), blanks))
        await followed.write(put(key(other, "leader"), b"node-2"))
        await followed.becomes(other, Agreed(leader="node-2"))
        state = b'{"leader": "node-2", "sync_standby": "node-1,node-3", "quorum": 1}'
        await followed.write(put(key(other, "sync"), state))
        await followed.becomes(other, Agreed(leader="node-2", may_lead=frozenset({"node-1", "node-3"})))
        for unreadable in (b'{"sync_standby": null}', b"[]", b"\xff"):
            for value in (state, unreadable):
                await followed.write(put(key(other, "sync"), value))
            await followed.becomes(other, Agreed(leader="node-2"))
        assert followed.told[2:] == [other]  # nobody has to look at once
        assert not followed.agreements.is_silent(ours, "node-1")
        await followed.write(delete(key(ours, "leader")), delete(key(ours, "members/node-1")))
        await followed.becomes(ours, Agreed(identifier="7", shared=b"{}"))
        await wait_until_async(
            "its lease has ended", SECONDS, lambda: followed.agreements.is_silent(ours, "node-1")
        )
        await followed.write(put(key(ours, "members/node-1"), b"back"))
        await wait_until_async(
            "it is back", SECONDS, lambda: not followed.agreements.is_silent(ours, "node-1")
        )
        await followed.agreements.close()
        await followed.client.close()

    with_etcd(scenario)


def test_what_changed_while_etcd_was_away_is_known_when_it_is_back() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        followed, ours = Followed(EtcdClient(socket=etcd.socket)), uuid4()
        await followed.write(put(key(ours, "leader"), b"node-1"))
        await followed.agreements.open()
        followed.agreements.follow()
        watching = asyncio.create_task(etcd.watch())
        await back_after(kill(etcd), etcd)
        other = EtcdClient(socket=etcd.socket)

        async def written() -> bool:
            request = TransactionRequest([], [put(key(ours, "leader"), b"node-2")], [])
            try:
                await other.transact(request)
            except Unavailable:
                return False
            return True

        await wait_until_async("etcd takes writes", SECONDS, written)
        await followed.becomes(ours, Agreed(leader="node-2"))
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await followed.agreements.close()
        await followed.client.close()
        await other.close()

    with_etcd(scenario)


def test_a_request_that_patroni_has_dropped_while_the_same_node_leads_is_one_that_it_refused() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        client, ours = EtcdClient(socket=etcd.socket), uuid4()
        requests = FailoverRequests(client, KEYS)
        for name, value in (("leader", b"node-1"), ("config", b"{}")):
            await client.transact(TransactionRequest([], [put(key(ours, name), value)], []))
        assert not await requests.ask(ours, "node-2", "node-1"), "it does not lead"
        assert await requests.ask(ours, "node-1", "node-2")
        assert not await requests.is_refused(ours, "node-1"), "it waits for Patroni"
        dropped = put(key(ours, "failover"), b"{}")  # as Patroni does
        await client.transact(TransactionRequest([], [dropped], []))
        assert await requests.is_refused(ours, "node-1")
        await client.transact(TransactionRequest([], [put(key(ours, "leader"), b"node-2")], []))
        assert not await requests.is_refused(ours, "node-1"), "it was carried out"
        await client.close()

    with_etcd(scenario)


def test_what_patroni_was_asked_for_is_taken_back_while_a_node_leads() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        client, ours = EtcdClient(socket=etcd.socket), uuid4()
        requests = FailoverRequests(client, KEYS)

        async def asked() -> bytes | None:
            found = await client.read(key(ours, "failover"))
            return None if found is None else found.value

        async def write(operation: EtcdOperation) -> None:
            await client.transact(TransactionRequest([], [operation], []))

        assert await requests.withdraw(ours), "nothing was asked for"
        for name, value in (("leader", b"node-1"), ("config", b"{}")):
            await write(put(key(ours, name), value))
        assert await requests.ask(ours, "node-1", "node-2")
        await write(delete(key(ours, "leader")))
        assert not await requests.withdraw(ours), "a node may be taking over"
        assert await asked() == b'{"leader":"node-1","member":"node-2"}'
        await write(put(key(ours, "leader"), b"node-1"))
        assert not await requests.withdraw(ours, etcd_messages.exists(key(ours, "no")))
        assert await requests.withdraw(ours)
        assert await asked() == b"{}"
        scheduled = b'{"leader":"node-1","member":"node-2","scheduled_at":"2030-01-01T00:00:00+00:00"}'
        await write(put(key(ours, "failover"), scheduled))
        assert await requests.withdraw(ours)
        assert await asked() == scheduled, "an operator's"
        await client.close()

    with_etcd(scenario)


def test_others_go_on_without_a_lost_node_by_what_patroni_knows_or_all_of_them_as_in_a_failover() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        client, ours, others = EtcdClient(socket=etcd.socket), uuid4(), ("node-2", "node-3")
        requests = FailoverRequests(client, KEYS)

        async def write(*operations: EtcdOperation) -> None:
            await client.transact(TransactionRequest([], list(operations), []))

        async def found(name: str) -> object:
            kept = await client.read(key(ours, name))
            return None if kept is None else json.loads(kept.value)

        known = {"leader": "node-1", "sync_standby": "node-3", "quorum": 0}
        await write(
            put(key(ours, "leader"), b"node-1"),
            put(key(ours, "initialize"), b"7"),
            put(key(ours, "config"), b'{"ttl": 8, "pause": true} '),
            put(key(ours, "sync"), json.dumps(known).encode()),
        )
        assert not await requests.lead_without(ours, "node-1", others, anew=True)
        assert await found("config") == {"ttl": 8, "pause": True}, "its lease is left"
        await write(delete(key(ours, "leader")))
        assert not await requests.lead_without(ours, "node-1", others, etcd_messages.exists(key(ours, "no")))
        for _ in range(2):
            assert await requests.lead_without(ours, "node-1", others)
            assert await found("config") == {"ttl": 8}
            assert await found("sync") == known
            assert await found("initialize") == 7
        for _ in range(2):  # the data that it knew are lost
            assert await requests.lead_without(ours, "node-1", others, anew=True)
            assert await found("sync") == {"leader": "node-1", "sync_standby": "node-2,node-3", "quorum": 1}
            assert [await found("config"), await found("initialize")] == [None, None]
        assert await requests.lead_without(ours, "node-1", (), anew=True)
        assert await found("sync") is None, "commits waited for none of them"
        await client.close()

    with_etcd(scenario)
