"""Who looks after the members of the store and the users of hosts: by positive evidence, and for ever."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cenote.agent import store_keeper
from cenote.agent.store_keeper import StoreKeeper
from cenote.controller.store_members import StoreMembers
from cenote.errors import Unavailable
from cenote.model.fleet_records import AdmittedHost, HostRole
from cenote.model.record import Secret
from cenote.store import access, etcd_messages, fleet
from cenote.store.access import Passwords
from cenote.store.client import EtcdClient
from cenote.store.etcd_messages import MembersResponse
from cenote.store.etcd_options import Member
from cenote.store.keys import Keys
from cenote.store.process import PrivateEtcd
from tests.support.etcd import with_etcd
from tests.support.waiting import wait_until_async

KEYS = Keys("/cenote/")
HOST, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
ADMITTED = AdmittedHost(
    name="db", address="127.0.1.2", roles=(HostRole.STORE,), at=datetime(2026, 1, 1, tzinfo=UTC), port=8444
)


@contextlib.asynccontextmanager
async def keeper(etcd: PrivateEtcd) -> AsyncIterator[tuple[StoreMembers, EtcdClient]]:
    client = EtcdClient(socket=etcd.socket)
    try:
        await fleet.admit(client, KEYS, HOST, ADMITTED)
        yield StoreMembers(client, "/cenote/", HOST, "here"), client
    finally:
        await client.close()


async def join(client: EtcdClient, id: str) -> None:
    await fleet.admit(client, KEYS, id, ADMITTED)
    await access.ensure_host(client, "/cenote/", id, Passwords(None, None, Secret("its own")))


async def write(client: EtcdClient, key: str, value: bytes) -> None:
    await client.transact(etcd_messages.TransactionRequest([], [etcd_messages.put(key, value)], []))


def test_a_host_that_joins_while_users_are_put_right_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with keeper(etcd) as (members, client):

            async def meanwhile(*_: object) -> None:
                await join(client, OTHER)

            monkeypatch.setattr(access, "ensure_rights", meanwhile)
            await members._settle_users({HOST})
            assert await access.hosts_with_users(client) == {OTHER}

    with_etcd(scenario)


def test_a_host_whose_records_cannot_be_read_has_not_left() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with keeper(etcd) as (members, client):
            await join(client, OTHER)
            await write(client, KEYS.host(OTHER), b'{"format":99}')
            found = await members.hosts(await members._admitted())
            assert found.keys() == {HOST, OTHER}
            assert found[OTHER].peer_url == "https://127.0.1.2:8447"
            await write(client, KEYS.admitted(OTHER), b'{"format":99}')
            with pytest.raises(Unavailable, match="cannot be read"):
                await members._step()
            assert await access.hosts_with_users(client) == {OTHER}

    with_etcd(scenario)


def test_what_a_host_was_told_of_a_member_that_is_gone_is_removed() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with keeper(etcd) as (members, client):
            standing = asyncio.create_task(members._election.run())
            await members._election.elected.wait()
            there = (await client.status()).header.member
            await write(client, KEYS.store_member(HOST), b'{"member":%d}' % there)
            await write(client, KEYS.store_member(OTHER), b'{"member":99}')
            while await members._step():
                pass
            assert await client.read(KEYS.store_member(HOST)) is not None
            assert await client.read(KEYS.store_member(OTHER)) is None
            standing.cancel()

    with_etcd(scenario)


def test_a_host_that_joined_and_never_started_is_known_as_such() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with keeper(etcd) as (members, client):
            await join(client, OTHER)
            await write(client, KEYS.drain(HOST), b"{}")
            await write(client, KEYS.host(HOST), b'{"format":99}')
            found = await members.hosts(await members._admitted())
            assert {id: (one.started, one.leaving) for id, one in found.items()} == {
                HOST: (True, True),
                OTHER: (False, False),
            }

    with_etcd(scenario)


def test_the_keeper_of_a_host_that_has_left_resigns() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with keeper(etcd) as (members, client):
            running = asyncio.create_task(members.run())
            await members._election.elected.wait()
            await client.transact(
                etcd_messages.TransactionRequest([], [etcd_messages.delete(KEYS.admitted(HOST))], [])
            )
            await asyncio.wait([running])
            assert running.exception() is None
            assert await client.read(KEYS.member_keeper) is None

    with_etcd(scenario)


def test_a_host_that_was_removed_is_not_admitted_as_it_starts() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        client = EtcdClient(socket=etcd.socket)
        await write(client, KEYS.removed_host(HOST), b"{}")
        await fleet.admit(client, KEYS, HOST, ADMITTED)
        assert await client.read(KEYS.admitted(HOST)) is None
        await client.close()

    with_etcd(scenario)


class _Breaking:
    """An etcd that is watched over by something with a defect; and a client of it with another."""

    has_data, member = True, Member()

    def __init__(self) -> None:
        self.watched = self.asked = 0

    async def watch(self) -> None:
        self.watched += 1
        if self.watched < 3:
            raise RuntimeError("a defect")
        await asyncio.Event().wait()

    async def membership(self, *_: object) -> MembersResponse:
        self.asked += 1
        if self.asked < 3:
            raise RuntimeError("another defect")
        return MembersResponse()


def test_a_defect_does_not_end_the_watch_over_etcd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_keeper, "LOOK_SECONDS", 0.01)
    etcd: Any = _Breaking()

    async def scenario() -> None:
        running = asyncio.create_task(
            StoreKeeper(etcd, "/cenote/", HOST, etcd, tmp_path / "members", etcd).run()
        )
        await wait_until_async("it is watched over", 10, lambda: etcd.watched == 3 and etcd.asked > 3)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    asyncio.run(scenario())
