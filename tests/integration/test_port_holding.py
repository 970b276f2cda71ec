"""The claims of an agent on ports, and the sockets that they are made of."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from msgspec.structs import replace

from cenote.agent import port_holding
from cenote.agent.port_holding import PortHolding
from cenote.errors import Invalid
from cenote.host import port_claims
from cenote.host.port_claims import Claim
from cenote.model.records import Cluster
from cenote.model.status_records import NodeStatus
from cenote.rules import deletions
from cenote.store import HostStore, PrivateEtcd
from tests.support.etcd import bare_cluster, opened_host, opened_store, with_etcd
from tests.support.ports import free_range
from tests.support.waiting import wait_until_async

HERE, BESIDE = "127.0.1.1", "127.0.1.2"
EVERYWHERE = "0.0.0.0"


@pytest.fixture
def port() -> int:
    return free_range(2)


@contextlib.contextmanager
def claimed(address: str, *ports: int) -> Iterator[None]:
    found = port_claims.claim([address], ports)
    assert isinstance(found, Claim)
    try:
        yield
    finally:
        found.close()


def is_free(port: int, address: str = HERE) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def test_hosts_of_one_machine_with_addresses_of_their_own_may_have_the_same_port(port: int) -> None:
    with claimed(HERE, port), claimed(BESIDE, port):
        assert port_claims.claim([HERE], [port]) == frozenset({port})
    with claimed(HERE, port):
        pass


@pytest.mark.parametrize(("first", "second"), [(HERE, EVERYWHERE), (EVERYWHERE, HERE), (HERE, HERE)])
def test_a_claim_on_all_addresses_is_one_on_each(port: int, first: str, second: str) -> None:
    with claimed(first, port):
        assert port_claims.claim([second], [port, port + 1]) == frozenset({port})
        assert is_free(port + 1)
    with claimed(second, port, port + 1):
        pass


def test_a_server_can_listen_on_a_claimed_port_and_a_program_cannot_bind_it(port: int) -> None:
    with claimed(HERE, port), socket.create_server((HERE, port)):
        assert not is_free(port)
    with socket.create_server((HERE, port)):
        assert port_claims.claim([HERE], [port]) == frozenset({port})


@contextlib.asynccontextmanager
async def holding(store: HostStore) -> AsyncIterator[PortHolding]:
    ports = PortHolding(store, [HERE])
    running = asyncio.create_task(ports.run())
    try:
        yield ports
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_ports_are_held_from_the_claim_until_the_servers_listen_also_by_the_next_agent(port: int) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        cluster = bare_cluster("one", port)
        async with opened_store(etcd) as store, opened_host(etcd) as host:
            async with holding(host) as ports:
                assert await ports.claim(cluster.id, [port, port + 1]) == frozenset()
                assert await ports.claim(uuid4(), [port + 1]) == {port + 1}
                await store.add_cluster(cluster)
                await wait_until_async("the agent has it", 10, lambda: host.cluster(cluster.id))
                await asyncio.sleep(0.2)
                assert (is_free(port), is_free(port + 1)) == (False, False)
            assert is_free(port)
            async with holding(host):
                await wait_until_async("they are claimed again", 10, lambda: not is_free(port + 1))
                assert not is_free(port)
                await host.report(cluster.id, "node-1", NodeStatus(reached=1, at=datetime.now(UTC)))
                await wait_until_async("they are given up", 10, lambda: is_free(port) and is_free(port + 1))

    with_etcd(scenario)


def test_ports_for_an_undelete_are_held_until_its_record_is_there(port: int) -> None:
    async def scenario(etcd: PrivateEtcd) -> None:
        cluster, at = bare_cluster("one", port), datetime.now(UTC)
        async with opened_store(etcd) as store, opened_host(etcd) as host, holding(host) as ports:
            await store.add_cluster(cluster)
            await store.delete_cluster(cluster.id, at, days=7)
            await wait_until_async("it is deleted", 10, lambda: not host.living_clusters())
            assert await ports.claim(cluster.id, [port, port + 1]) == frozenset()
            await host.report(cluster.id, "node-1", NodeStatus(reached=1, at=at, removed=True))
            await asyncio.sleep(0.5)
            assert not is_free(port)

            def undeleted(now: Cluster) -> Cluster:
                return deletions.undeleted(now, now.name, now.nodes)

            await store.update_cluster(cluster.id, undeleted, deleted=True)
            await asyncio.sleep(0.5)
            assert not is_free(port)
            await store.update_cluster(cluster.id, lambda now: replace(now, undeletion=None))
            await wait_until_async("they are given up", 10, lambda: is_free(port) and is_free(port + 1))

    with_etcd(scenario)


def test_what_no_record_comes_for_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_holding, "RECORD_SECONDS", 0.5)
    monkeypatch.setattr(port_holding, "MAX_CLAIMS", 2)

    async def scenario(etcd: PrivateEtcd) -> None:
        async with opened_host(etcd) as host, holding(host) as ports:
            released, left = uuid4(), uuid4()
            await ports.claim(released, [port])
            await ports.claim(left, [port + 1])
            with pytest.raises(Invalid, match="too many"):
                await ports.claim(uuid4(), [port])
            ports.release(released)
            assert (is_free(port), is_free(port + 1)) == (True, False)
            await wait_until_async("the other one is given up", 10, lambda: is_free(port + 1))

    with_etcd(scenario)
