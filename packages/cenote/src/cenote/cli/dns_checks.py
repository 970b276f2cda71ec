"""Whether the operator's name server can be told names, as ``cenote doctor`` says it."""

from __future__ import annotations

import asyncio

from cenote.errors import CenoteError
from cenote.server.name_server_settings import NameServerSettings


def problem(settings: NameServerSettings, domain: str) -> str:
    """Return what is wrong, "" if the server answers for the zone and knows the key.

    Whether the key may change names shows with the first one only.
    """
    try:
        settings.check(domain)
        asyncio.run(_ask(settings))
    except CenoteError as error:
        return error.message
    return ""


async def _ask(settings: NameServerSettings) -> None:
    from cenote.controller.name_server import NameServer  # what it needs takes a while to load

    host, port = settings.address
    await NameServer(host, port, settings.zone, settings.key(), store_id="").check()
