"""What has to be there before the agent and the API start, made in a short-lived process.

Everything here finds what an earlier start made, and makes what is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from cenote.host import identity, takeover
from cenote.model.paths import Layout
from cenote.server import bootstrap, event_loop, fleet, identification, key_files, logins, stores
from cenote.server.child import Channel
from cenote.server.installation import Installation
from cenote.store import Store
from cenote.store.client import EtcdClient
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
        await bootstrap.ensure_admin_token(store, layout)


async def _identified(installation: Installation) -> EtcdClient:
    """Return a client that may do everything, once it is known who this host is in its store.

    The private etcd wants logins from then on.
    """
    etcd = stores.private_etcd(installation)
    if etcd is None:
        client = stores.external_client(installation.settings.etcd)
        try:
            await identification.identify(installation, client)
        except BaseException:
            await client.close()
            raise
        return client
    layout, prefix = installation.layout, installation.settings.etcd.prefix
    await _keep_the_way_back(layout, etcd)
    await etcd.start()
    passwords = logins.ensure_passwords(layout)
    client = await logins.administrator(layout, etcd.socket, passwords)
    try:
        known = await identification.identify(installation, client)
    finally:
        await client.close()
    # Only now: etcd takes anybody until the records are this version's.
    await logins.require_logins(layout, etcd.socket, prefix, known, passwords)
    return logins.root_client(etcd.socket, passwords)


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
