"""What has to be there before the agent and the API start, made in a short-lived process.

Everything here finds what an earlier start made, and makes what is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from cenote.errors import Misconfigured
from cenote.host import fleet_files, identity, takeover
from cenote.model.paths import Layout
from cenote.server import bootstrap, event_loop, fleet, identification, key_files, logins, stores
from cenote.server.child import Channel
from cenote.server.installation import Installation
from cenote.store import Store, member_file, members
from cenote.store.client import EtcdClient, LoginRefused
from cenote.store.former import keep_copy
from cenote.store.process import PrivateEtcd

log = logging.getLogger(__name__)


def run(installation: Installation, channel: Channel) -> None:
    """Prepare the data directory; Misconfigured, with a remedy, if that cannot be."""
    del channel
    event_loop.run(_prepare(installation))


async def _prepare(installation: Installation) -> None:
    layout = installation.layout
    takeover.take_over(layout, installation.servers)
    identity.forget_empty(layout)
    fleet_files.mend(layout)
    if not installation.serves_api:
        await _check_store(installation)
        return
    stores.check_there_is_one(installation)
    bootstrap.ensure_certificate(layout, installation.settings)
    key_files.prepare_keys(layout, installation.api)
    async with contextlib.AsyncExitStack() as stack:
        with stores.naming_etcd(installation):
            client = await _identified(installation)
            stack.push_async_callback(client.close)
            store = Store(client, installation.settings.etcd.prefix)
            await store.open()
        key_files.remove_former(layout)
        stack.push_async_callback(store.close)
        await identification.register(installation, client, store)
        await fleet.ensure(installation, client, stores.identity_of(installation))
        await _listen_to_others(installation)
        await bootstrap.ensure_admin_token(store, layout)


async def _check_store(installation: Installation) -> None:
    """Prepare a host without an API: it has joined, so all that is made elsewhere is there."""
    if stores.identity_of(installation).store is None:
        raise Misconfigured(
            "a host without the role api cannot begin a fleet; start it with --join, or give it the role api"
        )
    etcd = stores.private_etcd(installation)
    layout = installation.layout
    if etcd is not None and etcd.has_data:  # others may need its vote
        await stores.start_etcd(layout, etcd)
    client = stores.agent_client(installation)
    try:
        with stores.naming_etcd(installation):
            await stores.when_there(layout, lambda: identification.check_store(installation, client))
    except LoginRefused as error:
        if stores.is_external(installation):
            raise
        raise stores.not_let_in(error) from None
    finally:
        await client.close()


async def _identified(installation: Installation) -> EtcdClient:
    """Return a client that may do everything, once it is known who this host is in its store.

    The private etcd wants logins from then on.
    """
    if stores.is_external(installation):
        client = stores.external_client(installation.settings.etcd)
        try:
            await identification.identify(installation, client)
        except BaseException:
            await client.close()
            raise
        return client
    layout, prefix = installation.layout, installation.settings.etcd.prefix
    etcd = stores.private_etcd(installation)
    if etcd is not None and (etcd.has_data or not stores.has_members(layout)):
        await _keep_the_way_back(layout, etcd)
        await stores.start_etcd(layout, etcd)
    # Without it here, the members are other hosts': this one's is started by the agent, or was lost.
    passwords, login = logins.ensure_passwords(layout), stores.login(layout)
    client = await stores.when_there(layout, lambda: logins.administrator(layout, login, passwords))
    try:
        known = await identification.identify(installation, client)
    finally:
        await client.close()
    # Only now: etcd takes anybody until the records are this version's.
    await logins.require_logins(layout, stores.login(layout), prefix, known, passwords)
    return stores.root_client(installation)


async def _listen_to_others(installation: Installation) -> None:
    """Have the etcd of a host with an address listen for others, by its certificate of the fleet.

    It is started again if it did not, and its address is written down for this host's processes.
    """
    etcd = stores.private_etcd(installation)
    if etcd is None or etcd.member.listening is None or not etcd.has_data:
        return
    if not await stores.start_etcd(installation.layout, etcd):
        return
    client = stores.root_client(installation)
    try:
        member_file.write(installation.layout.members, member_file.of(await members.listed(client)))
    finally:
        await client.close()


async def _keep_the_way_back(layout: Layout, etcd: PrivateEtcd) -> None:
    """Copy the records of a former version, before this one starts for the first time and migrates them."""
    known = identity.read(layout)
    if layout.etcd_root_password.exists() or layout.former_etcd.exists():
        return  # this version has been here
    if known is None or known.store is None:
        former_key = layout.former_sealing_key
        await etcd.stop()  # a copy of what is being written would not be whole
        if await asyncio.to_thread(keep_copy, layout.etcd / "data", layout.former_etcd, former_key):
            log.info("a copy of the former version's records is kept in %s", layout.former_etcd)
