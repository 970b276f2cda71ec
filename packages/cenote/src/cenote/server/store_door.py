"""What lets a new host in to the store, on a host that admits others."""

from __future__ import annotations

import msgspec

from cenote.front.host_admission import StoreDoor
from cenote.model.fleet_records import AdmittedHost, HostRole
from cenote.model.joining import StoreAccess
from cenote.model.record import Secret
from cenote.server import logins, store_access, stores
from cenote.server.installation import Installation
from cenote.store import door
from cenote.store.access import agent_user, api_user
from cenote.store.client import EtcdClient


class ExternalDoor:
    """An etcd of the operator's lets every host in by the same login."""

    def __init__(self, access: StoreAccess) -> None:
        self._access = access

    async def open_to(self, host_id: str, host: AdmittedHost) -> StoreAccess:
        del host_id
        if HostRole.API in host.roles:
            return self._access
        return msgspec.structs.replace(self._access, api=("", ""))

    async def close(self) -> None:
        return


class OwnDoor:
    """The etcd of the fleet has users for each host; ``client`` is root's, and ``root`` its password."""

    def __init__(self, client: EtcdClient, prefix: str, root: Secret) -> None:
        self._client, self._prefix, self._root = client, prefix, root

    async def open_to(self, host_id: str, host: AdmittedHost) -> StoreAccess:
        let_in = await door.let_in(self._client, self._prefix, host_id, host.roles, self._root)
        passwords = let_in.passwords
        return StoreAccess(
            prefix=self._prefix,
            endpoints=let_in.endpoints,
            agent=(agent_user(host_id), passwords.agent.reveal()),
            api=("", "") if passwords.api is None else (api_user(host_id), passwords.api.reveal()),
            root="" if passwords.root is None else passwords.root.reveal(),
        )

    async def close(self) -> None:
        await self._client.close()


def of(installation: Installation) -> StoreDoor:
    """Return the door of this host's store.

    It reads files and passwords at once, which the API's account cannot.
    """
    etcd = installation.settings.etcd
    if stores.is_external(installation):
        return ExternalDoor(store_access.of_settings(etcd))
    root = logins.read(installation.layout.etcd_root_password)
    return OwnDoor(stores.root_client(installation), etcd.prefix, root)
