"""Who this host is, in its data directory and in the store."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from uuid import UUID

import msgspec

from cenote.errors import Misconfigured
from cenote.host import identity
from cenote.host.identity import Identity
from cenote.model.paths import Layout
from cenote.server.installation import Installation
from cenote.store import Store, registration
from cenote.store.client import EtcdClient
from cenote.store.keys import Keys
from cenote.store.migration import prepare_store


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
    known = identity.read(layout.host_record)
    recorded = None if known is not None else await _name_in_old_records(client, keys, layout)
    if known is None:
        known = identity.new(settings.name or recorded or socket.gethostname())
        identity.write(layout.host_record, known)
    store = await prepare_store(
        client,
        settings.etcd.prefix,
        host_id=str(known.id),
        host_name=recorded or known.name,
        reseal=lambda sinks: sinks,
    )
    if known.store not in (None, store):
        raise Misconfigured(
            f"{layout.data_dir} belongs to the store {known.store}, and this store is {store}; give the "
            "right --etcd and --etcd-prefix, or restore the store's backup"
        )
    if known.store is None:
        identity.write(layout.host_record, msgspec.structs.replace(known, store=store))
    return known


async def register(installation: Installation, client: EtcdClient, store: Store) -> None:
    """Claim this host's name and id in the store; Misconfigured if another host has them."""
    layout, wanted = installation.layout, installation.settings.name
    known = identity.read(layout.host_record)
    assert known is not None
    # The private store is in the data directory, so whoever was present in it is gone.
    if installation.settings.etcd.endpoints:
        await registration.check_alone(store, str(known.id), identity.directory_mark(layout.data_dir))
    name = wanted or known.name
    await registration.claim_name(client, store, str(known.id), name)
    if name != known.name:
        identity.write(layout.host_record, msgspec.structs.replace(known, name=name))


async def _name_in_old_records(client: EtcdClient, keys: Keys, layout: Layout) -> str | None:
    hosts: Mapping[UUID, list[str]] = {}
    folders = [UUID(paths.root.name) for paths in layout.nodes()]
    if folders:
        hosts = await _hosts_in_old_records(client, keys)
    return identity.name_in_records(folders, hosts)


async def _hosts_in_old_records(client: EtcdClient, keys: Keys) -> dict[UUID, list[str]]:
    found: dict[UUID, list[str]] = {}
    async for page in client.pages(f"{keys.root}clusters/", 500):
        for one in page.found:
            cluster = msgspec.json.decode(one.value, type=_OldCluster)
            found[cluster.id] = [node.host for node in cluster.nodes]
    return found
