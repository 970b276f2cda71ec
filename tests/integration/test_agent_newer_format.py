"""An agent beside a record of a newer version: the servers run on, and nothing of it is written."""

from __future__ import annotations

import asyncio

import msgspec

from cenote.store import EtcdClient
from cenote.store.encoding import FORMAT
from cenote.store.etcd_messages import TransactionRequest, put
from tests.support.agent import Agents, AtWork, answers, running
from tests.support.waiting import wait_until_async


async def write(client: EtcdClient, key: str, value: bytes) -> None:
    await client.transact(TransactionRequest([], [put(key, value)], []))


def test_a_node_of_a_newer_record_is_left_running(agents: Agents) -> None:
    async def scenario(work: AtWork) -> None:
        cluster = await work.cluster()
        client, key = work.host._client, work.store.keys.cluster(cluster.id)
        found = await client.read(key)
        assert found is not None
        servers = [running(program) for program in (work.server(cluster), work.bouncer(cluster))]
        newer = {**msgspec.json.decode(found.value), "format": FORMAT + 1, "pools": [], "quorum": 3}
        value = msgspec.json.encode(newer)
        try:
            await write(client, key, value)
            assert await work.host.wait(lambda: work.host._tables.newer.get(key), 10)
            await asyncio.sleep(3)  # as long as several passes
            assert [running(program) for program in (work.server(cluster), work.bouncer(cluster))] == servers
            assert await answers(cluster)  # through its pool, which the newer record does not have
            there = await client.read(key)
            assert there is not None
            assert there.value == value
        finally:
            await write(client, key, found.value)
            known = work.host._tables.newer, work.store._tables.newer
            await wait_until_async("the record can be read", 10, lambda: not any(key in one for one in known))
        await work.settled(cluster)

    agents.run(scenario)
