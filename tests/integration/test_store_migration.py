"""The migration of a store of format 1 on a real etcd, cut off at every transaction, and whom it refuses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from cenote.errors import Misconfigured, Unavailable
from cenote.model.event_records import Event, Note
from cenote.model.records import Cluster, Token
from cenote.store import EtcdClient, PrivateEtcd, migration
from cenote.store import etcd_messages as messages
from cenote.store.keys import Keys
from tests.support.etcd import bare_cluster, with_etcd

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PREFIX = "/cenote/"
KEYS = Keys(PREFIX)
HOSTS = {"here": "id-here", "there": "id-there"}


class CutOff(Exception):
    """The service is killed."""


class Mortal(EtcdClient):
    """A client that dies with its ``transactions_left``-th transaction, before it or after it was done."""

    def __init__(self, etcd: PrivateEtcd, transactions_left: int, *, done: bool) -> None:
        super().__init__(socket=etcd.socket)
        self.transactions_left = transactions_left
        self._done = done

    async def transact(self, request: messages.TransactionRequest) -> messages.TransactionResponse:
        self.transactions_left -= 1
        if self.transactions_left < 0 and not self._done:
            raise CutOff
        answer = await super().transact(request)
        if self.transactions_left < 0:
            raise CutOff
        return answer

    async def revoke_lease(self, lease: int) -> None:
        if self.transactions_left >= 0:  # the dead revoke nothing
            await super().revoke_lease(lease)


@contextlib.asynccontextmanager
async def client_of(etcd: PrivateEtcd) -> AsyncIterator[EtcdClient]:
    client = EtcdClient(socket=etcd.socket)
    try:
        yield client
    finally:
        await client.close()


async def migrate(client: EtcdClient, **changes: Any) -> UUID:
    given = {"host_id": "id-here", "host_name": "here", "reseal": lambda sinks: sinks, "host_ids": HOSTS}
    return await migration.prepare_store(client, PREFIX, **{**given, **changes})


def old_records(clusters: int) -> dict[str, bytes]:
    """A store of format 1."""
    found: dict[str, bytes] = {}
    for number in range(clusters):
        host = "there" if number % 3 == 2 else "here"
        cluster = bare_cluster(f"c{number}", 25060 + 2 * number, host=host, pools=2)
        found[f"clusters/{cluster.id}"] = msgspec.json.encode(cluster)
        found[f"names/{cluster.name}"] = str(cluster.id).encode()
        for port in cluster.nodes[0].ports:
            found[f"ports/{host}/{port}"] = str(cluster.id).encode()
        found[f"status/{cluster.id}/node-1"] = b'{"reached":5,"at":"2026-01-02T03:04:05Z"}'
        event = Event(id=f"{number:020x}", at=NOW, note=Note(what="made"), cluster_id=cluster.id)
        found[f"events/{event.id}"] = msgspec.json.encode(event)
    token = Token(id=UUID(int=1), name="t", scopes=frozenset({"*"}), created_at=NOW)
    found["tokens/" + "a" * 64] = msgspec.json.encode(token)
    return found


async def put_all(client: EtcdClient, records: dict[str, bytes]) -> None:
    puts = [messages.put(PREFIX + key, value) for key, value in records.items()]
    for start in range(0, len(puts), 100):
        await client.transact(messages.TransactionRequest([], puts[start : start + 100], []))


async def everything(client: EtcdClient) -> dict[str, bytes]:
    return {
        found.key.decode(): found.value async for page in client.pages(PREFIX, 1000) for found in page.found
    }


async def empty(client: EtcdClient) -> None:
    await client.transact(messages.TransactionRequest([], [messages.delete_prefix(PREFIX)], []))


def test_a_store_is_carried_over_once() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with client_of(etcd) as client:
            old = old_records(60)  # several transactions
            await put_all(client, old)
            id = await migrate(client)
            new = await everything(client)
            assert msgspec.json.decode(new.pop(KEYS.marker))["id"] == str(id)
            assert all(key.startswith(KEYS.prefix) for key in new)
            assert len(new) == len(old) + 2 * len(HOSTS)
            for key, value in old.items():
                if key.startswith("clusters/"):
                    before = msgspec.json.decode(value, type=Cluster)
                    after = msgspec.json.decode(new[KEYS.prefix + key], type=Cluster)
                    [node], [node_before] = after.nodes, before.nodes
                    assert node == msgspec.structs.replace(node_before, host=HOSTS[node_before.host])
                    assert msgspec.structs.replace(after, nodes=before.nodes) == before
            revision = await client.revision(PREFIX)
            assert await migrate(client) == id
            assert await client.revision(PREFIX) == revision, "a second start changes nothing"

    with_etcd(scenario)


@pytest.mark.parametrize("done", [False, True])
def test_a_crash_at_any_transaction_leaves_all_records_of_one_format(done: bool) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with client_of(etcd) as client:
            old = old_records(24)
            await put_all(client, old)
            await migrate(client)
            expected = await everything(client)
            del expected[KEYS.marker]
            for survived in range(20):
                await empty(client)
                await put_all(client, old)
                mortal = Mortal(etcd, survived, done=done)
                try:
                    await migrate(mortal)
                    assert survived > 4, "it took several transactions"
                    return
                except CutOff:
                    pass
                finally:
                    await mortal.close()
                there = await everything(client)
                if KEYS.marker in there:
                    assert expected.items() <= there.items()
                else:
                    assert {PREFIX + key: value for key, value in old.items()}.items() <= there.items()
                await migrate(client)
                there = await everything(client)
                del there[KEYS.marker]
                assert there == expected
            raise AssertionError("it never came to an end")

    with_etcd(scenario)


def test_an_empty_store_gets_its_id() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with client_of(etcd) as client:
            id = await migrate(client)
            assert set(await everything(client)) == {KEYS.marker}
            assert await migrate(client, host_id="id-there", host_name="there") == id

    with_etcd(scenario)


def test_two_services_at_once_migrate_it_once() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with client_of(etcd) as client, client_of(etcd) as other:
            await put_all(client, old_records(20))
            ids = await asyncio.gather(
                migrate(client), migrate(other, host_id="id-there", host_name="there", host_ids={})
            )
            assert ids[0] == ids[1]
            names = [key for key in await everything(client) if "/host_names/" in key]
            assert sorted(names) == [KEYS.host_name("here"), KEYS.host_name("there")]

    with_etcd(scenario)


def test_a_living_service_of_an_earlier_version_is_not_overrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "PREDECESSOR_SECONDS", 0.5)

    async def scenario(etcd: PrivateEtcd) -> None:
        async with client_of(etcd) as client:
            old = {**old_records(1), "hosts/there": b'{"name":"there"}', "hosts/here": b'{"name":"here"}'}
            await put_all(client, old)
            with pytest.raises(Misconfigured, match=r"earlier version .* on the host there; stop it"):
                await migrate(client)
            assert await everything(client) == {PREFIX + key: value for key, value in old.items()}

    with_etcd(scenario)


def test_a_lease_that_is_running_out_is_waited_for() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with client_of(etcd) as client:
            await put_all(client, old_records(1))
            lease = await client.grant_lease(2)
            put = messages.put(f"{PREFIX}hosts/there", b"{}", lease)
            await client.transact(messages.TransactionRequest([], [put], []))
            await migrate(client)
            assert KEYS.marker in await everything(client)

    with_etcd(scenario)


def test_a_write_of_format_1_in_between_is_carried_over_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(EtcdClient):
        writes = 0

        async def transact(self, request: messages.TransactionRequest) -> messages.TransactionResponse:
            self.writes += 1
            if self.writes == 3:
                late = messages.put(f"{PREFIX}tags/late", b'{"name":"late"}')
                await super().transact(messages.TransactionRequest([], [late], []))
            return await super().transact(request)

    async def scenario(etcd: PrivateEtcd) -> None:
        async with client_of(etcd) as client:
            await put_all(client, old_records(2))
            interrupted = Interrupted(socket=etcd.socket)
            try:
                await migrate(interrupted)
            finally:
                await interrupted.close()
            assert KEYS.tag("late") in await everything(client)

    with_etcd(scenario)


@pytest.mark.parametrize("key", ["tokens/x", f"clusters/{UUID(int=1)}", f"ports/here/{'x'}"])
def test_nothing_is_migrated_when_a_record_is_damaged(key: str) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with client_of(etcd) as client:
            old = {**old_records(1), key: b'{"nodes":'}
            await put_all(client, old)
            with pytest.raises(Misconfigured, match="a record cannot be"):
                await migrate(client)
            there = await everything(client)
            assert KEYS.marker not in there
            assert {PREFIX + key: value for key, value in old.items()}.items() <= there.items()

    with_etcd(scenario)


def test_a_store_of_a_newer_format_is_left_alone() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with client_of(etcd) as client:
            newer = (
                b'{"format":99,"id":"00000000-0000-0000-0000-000000000001","made_at":"2026-01-02T03:04:05Z"}'
            )
            await put_all(client, {"store": newer, "tags/t": b'{"name":"t"}'})
            with pytest.raises(Misconfigured, match="upgraded by a newer version"):
                await migrate(client)
            assert set(await everything(client)) == {KEYS.marker, f"{PREFIX}tags/t"}

    with_etcd(scenario)


def test_the_claim_of_another_service_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "CLAIM_SECONDS", 1)
    monkeypatch.setattr(migration, "PREDECESSOR_SECONDS", 0)

    async def scenario(etcd: PrivateEtcd) -> None:
        async with client_of(etcd) as client:
            await put_all(client, {"migration": b"id-there"})
            with pytest.raises(Unavailable, match="another service migrates"):
                await migrate(client)

    with_etcd(scenario)
