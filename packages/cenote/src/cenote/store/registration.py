"""The registration of a host in the store: its name and its id are its own.

Two services with stores of their own may stand side by side on one machine; in one store a name or an id is
used by one host alone.
"""

from __future__ import annotations

import asyncio
import time

from cenote.errors import Misconfigured
from cenote.model.records import Presence
from cenote.store import etcd_messages
from cenote.store.client import EtcdClient
from cenote.store.host_store import PRESENCE_SECONDS
from cenote.store.retry import retrying
from cenote.store.store import Store

ATTEMPTS = 5


async def claim_name(client: EtcdClient, store: Store, id: str, name: str) -> None:
    """Claim a host's name, and give up the one that it had before; Misconfigured if another host has it.

    The name of a host that is away and has no nodes is free.
    """
    keys = store.keys
    key = keys.host_name(name)
    for _ in range(ATTEMPTS):
        found = await retrying(lambda: client.read(key))
        if found is not None and found.value != id.encode():
            other = found.value.decode()
            if _is_in_use(store, other):
                raise Misconfigured(
                    f"another host of this store is named {name} (id {other}); choose another name with "
                    "--name"
                )
        before = store.host(id)
        freed = [] if before is None or before.name == name else [keys.host_name(before.name)]
        free = etcd_messages.unchanged(key, 0 if found is None else found.mod_revision)
        operations = [etcd_messages.put(key, id.encode()), *map(etcd_messages.delete, freed)]
        answer = await client.transact(etcd_messages.TransactionRequest([free], operations, []))
        if answer.succeeded:
            return
    raise Misconfigured(f"the name {name} is claimed by several hosts at once; start again")


async def check_alone(store: Store, id: str, directory: str) -> None:
    """Raise Misconfigured when another data directory serves as the host of this id.

    The presence of a predecessor in the same directory does not count: that is locked by this process.  After
    a restart of the machine it cannot be told from a copy's, so its lease has to expire.
    """
    deadline = time.monotonic() + PRESENCE_SECONDS + 3

    def other() -> Presence | None:
        found = store.presences().get(id)
        return None if found is None or found.directory == directory else found

    while other() is not None:
        if time.monotonic() > deadline:
            raise Misconfigured(
                f"another service uses this store as the same host (id {id}): its data directory is a copy "
                "of this one, or this one of it; to make a new host of this directory, remove its host.json "
                "and its clusters"
            )
        await asyncio.sleep(0.1)


def _is_in_use(store: Store, id: str) -> bool:
    return id in store.presences() or any(
        node.host == id for stored in store.clusters() for node in stored.value.nodes
    )
