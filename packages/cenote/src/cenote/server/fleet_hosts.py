"""The hosts of the fleet as a host without an API reads them: by its agent's login."""

from __future__ import annotations

import asyncio

import msgspec

from cenote.model.fleet_records import Host
from cenote.model.paths import Layout
from cenote.server import installation, store_access, stores
from cenote.server.settings import ServeSettings
from cenote.store.encoding import decode
from cenote.store.keys import Keys

PAGE = 500


def listed(layout: Layout) -> list[Host]:
    """Return the records of all hosts; Unavailable when the store does not answer."""
    return asyncio.run(_listed(layout))


async def _listed(layout: Layout) -> list[Host]:
    settings = store_access.with_store(ServeSettings(data_dir=layout.data_dir), layout)
    client = stores.agent_client(installation.of_host(settings, layout))
    decoder = msgspec.json.Decoder(Host)
    try:
        return [
            decode(one.key.decode(), one.value, decoder)
            async for page in client.pages(Keys(settings.etcd.prefix).hosts, PAGE)
            for one in page.found
        ]
    finally:
        await client.close()
