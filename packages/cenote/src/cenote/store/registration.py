"""The registration of a host in the store: its name and its id are its own.

Two services with stores of their own may stand side by side on one machine; in one store a name or an id is
used by one host alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from cenote.errors import Conflict, Misconfigured, Unavailable
from cenote.model.fleet_records import Presence
from cenote.store import etcd_messages
from cenote.store.client import EtcdClient
from cenote.store.host_store import PRESENCE_SECONDS, was_removed
from cenote.store.keys import Keys
from cenote.store.retry import retrying
from cenote.store.store import Store

ATTEMPTS = 5
PAGE = 500


async def claim_name(client: EtcdClient, store: Store, id: str, name: str) -> None:
    """Claim a host's name, and give up those that it had before; Misconfigured if another host has it.

    The name of a host that is away and has no nodes is free.
    """
    key = store.keys.host_name(name)
    for _ in range(ATTEMPTS):
        claims = await retrying(lambda: _claims(client, store.keys))
        holder = claims.get(key)
        if holder is not None and holder.value != id.encode():
            other = holder.value.decode()
            if _is_in_use(store, other):
                raise Misconfigured(
                    f"another host of this store is named {name} (id {other}); choose another name with "
                    "--name"
                )
        own = [claim for claim in claims.values() if claim.value == id.encode() and claim is not holder]
        if holder is not None and holder.value == id.encode() and not own:
            return
        request = etcd_messages.TransactionRequest(
            [etcd_messages.unchanged(key, 0 if holder is None else holder.mod_revision)]
            + [etcd_messages.unchanged(claim.key.decode(), claim.mod_revision) for claim in own],
            [etcd_messages.put(key, id.encode())]
            + [etcd_messages.delete(claim.key.decode()) for claim in own],
            [],
        )
        # When the answer is lost, the next attempt finds what has happened.
        with contextlib.suppress(Unavailable):
            await client.transact(request)
    raise Unavailable(f"the name {name} of this host cannot be claimed now")


def check_not_removed(store: Store, id: str) -> None:
    """Raise Misconfigured when the host of this id was removed."""
    removed = store.removed_host(id)
    if removed is not None:
        raise was_removed(id, removed)


async def free_claim(store: Store, name: str, id: str) -> etcd_messages.KeyValue | None:
    """Return the claim on a host's name that a new host may take over; None if there is none.

    Conflict if another host has the name, also one that is away and belongs to the fleet.
    """
    key = store.keys.host_name(name)
    holder = await retrying(lambda: store.client.read(key))
    if holder is None or holder.value == id.encode():
        return holder
    other = holder.value.decode()
    if _is_in_use(store, other) or other in store.joining.admitted():
        raise Conflict(
            f"another host of the fleet is named {name} (id {other}); choose another name with --name"
        )
    return holder


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


async def forget_predecessor(client: EtcdClient, keys: Keys, id: str) -> None:
    """Remove what processes of this host hold under leases.

    For a private store alone: it is in the data directory, so that whoever was present in it has ended.  When
    the machine was started again its directory has another mark, and its predecessor would be taken for a
    copy until the lease has expired.
    """
    presence = keys.presence(id)
    controller = await retrying(lambda: client.read(keys.controller))
    holds = controller is not None and id.encode() in controller.value
    gone = [presence, keys.controller] if holds else [presence]
    request = etcd_messages.TransactionRequest([], list(map(etcd_messages.delete, gone)), [])
    await retrying(lambda: client.transact(request))


def _is_in_use(store: Store, id: str) -> bool:
    return id in store.presences() or any(
        node.host == id for stored in store.clusters() for node in stored.value.nodes
    )


async def _claims(client: EtcdClient, keys: Keys) -> dict[str, etcd_messages.KeyValue]:
    """Return all claims of hosts' names, by key."""
    return {
        found.key.decode(): found
        async for page in client.pages(keys.host_names, PAGE)
        for found in page.found
    }
