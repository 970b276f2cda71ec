"""A host's name and id belong to one host of a store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from cenote.controller.election import Election
from cenote.errors import Misconfigured
from cenote.model.fleet_records import Host
from cenote.store import EtcdClient, HostStore, PrivateEtcd, Store, registration
from cenote.store.keys import Keys
from cenote.store.registration import check_alone, claim_name, forget_predecessor
from tests.support.etcd import bare_cluster, opened_store, with_etcd
from tests.support.waiting import wait_until_async

ONE, OTHER = str(uuid4()), str(uuid4())


@asynccontextmanager
async def agent(etcd: PrivateEtcd, id: str, name: str, directory: str = "here") -> AsyncIterator[HostStore]:
    """The store of a host that is present."""
    client = EtcdClient(socket=etcd.socket)
    store = HostStore(client, id, directory)
    try:
        await store.open()
        await store.announce(host(id, name))
        yield store
    finally:
        await store.close()
        await client.close()


def host(id: str, name: str) -> Host:
    return Host(
        id=id, name=name, address="h", memory_mib=1, cpus=1, versions={}, first_port=10_000, last_port=11_000
    )


async def left_behind(etcd: PrivateEtcd, directory: str) -> None:
    """An agent and a controller that were killed: what they held stays until its leases expire."""
    client = EtcdClient(socket=etcd.socket)
    store = HostStore(client, ONE, directory)
    await store.open()
    assert await Election(client, Keys("/cenote/").controller, ONE, directory)._stand()
    store._presence._lease = 0
    await store.close()
    await client.close()


@asynccontextmanager
async def opened(etcd: PrivateEtcd) -> AsyncIterator[tuple[EtcdClient, Store]]:
    async with opened_store(etcd) as store:
        yield store.client, store


async def holders(client: EtcdClient, store: Store) -> dict[str, str]:
    claims = await registration._claims(client, store.keys)
    return {key.rpartition("/")[2]: found.value.decode() for key, found in claims.items()}


def test_a_name_is_claimed_once_and_found_again() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened(etcd) as (client, store):
            await claim_name(client, store, ONE, "db-1")
            before = await client.revision("/")
            await claim_name(client, store, ONE, "db-1")
            assert await client.revision("/") == before, "nothing is written the second time"
            assert await holders(client, store) == {"db-1": ONE}

    with_etcd(scenario)


def test_the_name_of_a_host_that_is_present_is_refused() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened(etcd) as (client, store), agent(etcd, ONE, "db-1"):
            await claim_name(client, store, ONE, "db-1")
            await wait_until_async("it is present", 10, lambda: ONE in store.presences())
            with pytest.raises(Misconfigured, match="another host of this store is named db-1"):
                await claim_name(client, store, OTHER, "db-1")

    with_etcd(scenario)


def test_the_name_of_a_host_that_is_away_is_refused_while_it_has_nodes() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened(etcd) as (client, store):
            await claim_name(client, store, ONE, "db-1")
            cluster = bare_cluster("one", 10_000, host=ONE)
            await store.add_cluster(cluster)
            with pytest.raises(Misconfigured, match="choose another name"):
                await claim_name(client, store, OTHER, "db-1")
            await store.forget_cluster(cluster.id)
            await claim_name(client, store, OTHER, "db-1")
            assert await holders(client, store) == {"db-1": OTHER}

    with_etcd(scenario)


def test_a_host_that_is_renamed_gives_up_its_former_names() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened(etcd) as (client, store):
            for name in ("db-1", "db-2"):
                await claim_name(client, store, ONE, name)
            await claim_name(client, store, OTHER, "db-1")
            await claim_name(client, store, ONE, "db-3")
            assert await holders(client, store) == {"db-1": OTHER, "db-3": ONE}

    with_etcd(scenario)


def test_of_two_hosts_that_claim_a_name_at_once_the_second_takes_it_only_from_one_that_is_away() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened(etcd) as (client, store), agent(etcd, ONE, "a"), agent(etcd, OTHER, "b"):
            await wait_until_async("both are present", 10, lambda: len(store.presences()) == 2)
            outcomes = await asyncio.gather(
                claim_name(client, store, ONE, "db-1"),
                claim_name(client, store, OTHER, "db-1"),
                return_exceptions=True,
            )
            assert [type(outcome) for outcome in outcomes if outcome is not None] == [Misconfigured]

    with_etcd(scenario)


def test_a_copy_of_a_data_directory_is_refused_while_the_other_one_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registration, "PRESENCE_SECONDS", -2)  # waits for 1 second

    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened(etcd) as (_, store):
            async with agent(etcd, ONE, "db-1", "original"):
                await wait_until_async("it is present", 10, lambda: ONE in store.presences())
                with pytest.raises(Misconfigured, match=r"remove its host\.json"):
                    await check_alone(store, ONE, "copy")
                await check_alone(store, ONE, "original")
            await check_alone(store, ONE, "copy")

    with_etcd(scenario)


def test_in_a_private_store_a_predecessor_of_before_a_reboot_is_replaced_at_once() -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        await left_behind(etcd, "before the reboot")
        async with opened(etcd) as (client, store):
            with pytest.raises(Misconfigured, match="is a copy of this one"):
                async with agent(etcd, ONE, "db-1", "after it"):
                    pass
            await forget_predecessor(client, store.keys, ONE)
            async with agent(etcd, ONE, "db-1", "after it"):
                assert await Election(client, store.keys.controller, ONE, "after it")._stand()
                await forget_predecessor(client, store.keys, OTHER)
                assert await client.read(store.keys.controller) is not None, "it is another host's"

    with_etcd(scenario)
