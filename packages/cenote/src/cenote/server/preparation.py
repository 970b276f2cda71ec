"""What has to be there before the agent and the API start, made in a short-lived process.

Everything here finds what an earlier start made, and makes what is missing.
"""

from __future__ import annotations

import contextlib

from cenote.security.sealing import Sealer
from cenote.server import bootstrap, event_loop, identification, stores
from cenote.server.child import Channel
from cenote.server.installation import Installation
from cenote.store import Store


def run(installation: Installation, channel: Channel) -> None:
    """Prepare the data directory; Misconfigured, with a remedy, if that cannot be."""
    del channel
    event_loop.run(_prepare(installation))


async def _prepare(installation: Installation) -> None:
    layout = installation.layout
    bootstrap.ensure_certificate(layout, installation.settings)
    async with contextlib.AsyncExitStack() as stack:
        etcd = stores.private_etcd(installation)
        if etcd is not None:
            await etcd.start()
        client = stores.etcd_client(installation)
        stack.push_async_callback(client.close)
        await identification.identify(installation, client)
        store = Store(client, installation.settings.etcd.prefix)
        await stores.open_once(installation, store)
        stack.push_async_callback(store.close)
        await identification.register(installation, client, store)
        Sealer(layout.sealing_key)
        await bootstrap.ensure_admin_token(store, layout)
