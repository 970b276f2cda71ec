"""Agents without servers: ``python -m bench.simulated_hosts DATA_DIR HOST …`` until its input ends.

Each of these hosts writes its record, a presence that it keeps, and a report on each of its nodes, and
follows all clusters' records by a watch of its own, as an agent does; but it decodes none, since fifty copies
of all records are not what is measured.  It prints a line when everything is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uvloop

from bench import records
from cenote.model.fleet_records import Host, Presence
from cenote.model.paths import Layout
from cenote.model.records import Cluster
from cenote.model.status_records import NodeStatus
from cenote.server.settings import EtcdSettings
from cenote.store import EtcdClient, etcd_messages
from cenote.store.encoding import encode
from cenote.store.host_store import PRESENCE_SECONDS
from cenote.store.keys import Keys
from cenote.store.lease import LeasedKey
from cenote.store.writer import Writer

AT_ONCE = 100  # reports per transaction, which etcd limits to 128 operations


async def simulate(layout: Layout, hosts: Sequence[str]) -> None:
    keys, client = Keys(EtcdSettings().prefix), records.client_of(layout)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        for number, host in enumerate(hosts):
            await _appear(stack, layout, keys, host, number)
        await _report(client, keys)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def _appear(stack: contextlib.AsyncExitStack, layout: Layout, keys: Keys, id: str, number: int) -> None:
    client = records.client_of(layout)
    stack.push_async_callback(client.close)
    host = Host(
        id=id,
        name=f"simulated-{number}",
        address="127.0.0.1",
        memory_mib=1 << 20,
        cpus=64,
        disk_mib=1 << 30,
        versions={"15": "15.0"},
        first_port=25060,
        last_port=32767,
    )
    await client.transact(
        etcd_messages.TransactionRequest([], [etcd_messages.put(keys.host(id), encode(host))], [])
    )
    presence = LeasedKey(
        client, Writer(client, keys, id), keys.presence(id), PRESENCE_SECONDS, lambda _: None
    )
    stack.push_async_callback(presence.withdraw)
    await presence.announce(encode(Presence(run=id, directory=id)))
    watching = asyncio.create_task(_follow(client, keys))
    stack.callback(watching.cancel)


async def _follow(client: EtcdClient, keys: Keys) -> None:
    start = await client.revision(keys.clusters) + 1
    async for _ in client.watch(keys.clusters, start):
        pass


async def _report(client: EtcdClient, keys: Keys) -> None:
    """Write a report on each node of all records, as after a pass over it."""
    decoder, now = msgspec.json.Decoder(Cluster), datetime.now(UTC)
    writes: list[etcd_messages.EtcdOperation] = []
    async for page in client.pages(keys.clusters, 500):
        for found in page.found:
            cluster = decoder.decode(found.value)
            for node in cluster.nodes:
                status = NodeStatus(
                    reached=found.mod_revision,
                    at=now,
                    run=node.host,
                    size=cluster.size,
                    region=cluster.region,
                    storage_mib=cluster.storage_mib,
                )
                writes.append(
                    etcd_messages.put(keys.report(node.host, cluster.id, node.name), encode(status))
                )
    for first in range(0, len(writes), AT_ONCE):
        part = writes[first : first + AT_ONCE]
        await client.transact(etcd_messages.TransactionRequest([], part, []))


if __name__ == "__main__":
    uvloop.run(simulate(Layout(Path(sys.argv[1])), sys.argv[2:]))
