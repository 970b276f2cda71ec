"""The fleet's CA, and the hosts that were admitted, read and written by who may do everything."""

from __future__ import annotations

import msgspec

from cenote.model.fleet_records import AdmittedHost, FleetAuthority
from cenote.store import etcd_messages
from cenote.store.client import EtcdClient
from cenote.store.encoding import decode, encode
from cenote.store.keys import Keys
from cenote.store.retry import retrying

_authority = msgspec.json.Decoder(FleetAuthority)
_admitted = msgspec.json.Decoder(AdmittedHost)


async def authority(client: EtcdClient, keys: Keys) -> FleetAuthority | None:
    """Return the fleet's CA, None before the first host with an address has started."""
    key = keys.fleet_authority
    found = await retrying(lambda: client.read(key))
    return None if found is None else decode(key, found.value, _authority)


async def claim_authority(client: EtcdClient, keys: Keys, made: FleetAuthority) -> FleetAuthority:
    """Write the fleet's CA, unless there is one; return the one that there is then."""
    request = etcd_messages.TransactionRequest(
        [etcd_messages.unchanged(keys.fleet_authority, 0)],
        [etcd_messages.put(keys.fleet_authority, encode(made))],
        [],
    )
    await retrying(lambda: client.transact(request))
    return await authority(client, keys) or made


async def admitted(client: EtcdClient, keys: Keys, host_id: str) -> AdmittedHost | None:
    key = keys.admitted(host_id)
    found = await retrying(lambda: client.read(key))
    return None if found is None else decode(key, found.value, _admitted)


async def admit(client: EtcdClient, keys: Keys, host_id: str, host: AdmittedHost) -> None:
    """Write down that a host belongs to the fleet, and as what; nothing if it was removed."""
    request = etcd_messages.TransactionRequest(
        [etcd_messages.missing(keys.removed_host(host_id))],
        [etcd_messages.put(keys.admitted(host_id), encode(host))],
        [],
    )
    await retrying(lambda: client.transact(request))
