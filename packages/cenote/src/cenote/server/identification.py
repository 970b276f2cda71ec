"""Who this host is, in its data directory and in the store."""

from __future__ import annotations

import socket
from uuid import UUID

import msgspec

from cenote.errors import Misconfigured
from cenote.host import fleet_files, identity
from cenote.host.identity import Identity
from cenote.model.paths import Layout
from cenote.security import fleet_certificates
from cenote.server import key_files, stores
from cenote.server.installation import Installation
from cenote.store import Store, registration
from cenote.store.client import EtcdClient
from cenote.store.keys import Keys
from cenote.store.migration import prepare_store, store_id


class _OldNode(msgspec.Struct):
    host: str


class _OldCluster(msgspec.Struct):
    id: UUID
    nodes: list[_OldNode]


async def identify(installation: Installation, client: EtcdClient) -> Identity:
    """Return the identity of this data directory; the first time, make it, and migrate an older store.

    Misconfigured when the data directory belongs to another store.
    """
    layout, settings = installation.layout, installation.settings
    keys = Keys(settings.etcd.prefix)
    found = identity.read(layout)
    # An earlier start may have been cut off between writing the identity and migrating the records.
    may_be_old = found is None or found.store is None
    hosts = await _hosts_in_records(client, f"{keys.root}clusters/") if may_be_old and layout.hosted() else {}
    if found is None and not layout.hosted():
        await _check_not_lost(client, keys, layout, settings.name or socket.gethostname())
    known = identity.ensure(layout, hosts, settings.name, await _lost_id(client, keys, layout, found))
    store = await prepare_store(
        client,
        settings.etcd.prefix,
        host_id=known.host_id,
        host_name=identity.old_name(layout, hosts) or known.name,
        reseal=key_files.sealed_for_hosts(layout),
        store_id=known.store,
    )
    if known.store not in (None, store):
        raise _other_store(layout, known, store)
    roles = installation.roles
    if (known.store, known.roles) != (store, roles):
        known = msgspec.structs.replace(known, store=store, roles=roles)
        identity.write(layout, known)
    return known


async def check_store(installation: Installation, client: EtcdClient) -> None:
    """Raise Misconfigured when this data directory belongs to another store; nothing is made or migrated."""
    known, keys = identity.read(installation.layout), Keys(installation.settings.etcd.prefix)
    assert known is not None
    store = await store_id(client, keys)
    if store != known.store:
        raise _other_store(installation.layout, known, store)


def _other_store(layout: Layout, known: Identity, store: UUID | None) -> Misconfigured:
    return Misconfigured(
        f"{layout.data_dir} belongs to the store {known.store}, and this store is {store or 'empty'}; give "
        "the right --etcd and --etcd-prefix, or restore the store's backup"
    )


async def register(installation: Installation, client: EtcdClient, store: Store) -> None:
    """Claim this host's name and id in the store; Misconfigured if another host has them."""
    layout, wanted = installation.layout, installation.settings.name
    known = identity.read(layout)
    assert known is not None
    registration.check_not_removed(store, known.host_id)
    if stores.is_external(installation) or stores.has_members(layout):
        await registration.check_alone(store, known.host_id, identity.directory_of(layout))
    else:
        await registration.forget_predecessor(client, store.keys, known.host_id)
    name = wanted or known.name
    await registration.claim_name(client, store, known.host_id, name)
    if name != known.name:
        identity.write(layout, msgspec.structs.replace(known, name=name))


async def _check_not_lost(client: EtcdClient, keys: Keys, layout: Layout, name: str) -> None:
    """Raise Misconfigured when the store has a host of this name with clusters, and nothing is here.

    The data directory may be on a disk that is not mounted, and nobody would look for that at a new host.
    """
    claim = await client.read(keys.host_name(name))
    if claim is None:
        return
    id = claim.value.decode()
    records = await _hosts_in_records(client, keys.clusters)
    number = sum(id in hosts for hosts in records.values())
    if number:
        raise Misconfigured(
            f"the store has a host named {name} (id {id}) with {number} clusters, and {layout.data_dir} is "
            "empty: is its disk mounted? If this is another machine, choose another name with --name"
        )


async def _lost_id(client: EtcdClient, keys: Keys, layout: Layout, found: Identity | None) -> UUID | None:
    """Return the id that records have of the host whose folders lie here, if its identity is missing.

    The file was lost, or another host has migrated the records that both share.
    """
    if found is not None:
        return None
    certified = fleet_certificates.host_id_of(fleet_files.names(layout))
    if certified:
        return UUID(certified)
    if not layout.hosted():
        return None
    id = identity.old_name(layout, await _hosts_in_records(client, keys.clusters))
    return None if id is None else UUID(id)


async def _hosts_in_records(client: EtcdClient, folder: str) -> dict[UUID, list[str]]:
    found: dict[UUID, list[str]] = {}
    async for page in client.pages(folder, 500):
        for one in page.found:
            cluster = msgspec.json.decode(one.value, type=_OldCluster)
            found[cluster.id] = [node.host for node in cluster.nodes]
    return found
