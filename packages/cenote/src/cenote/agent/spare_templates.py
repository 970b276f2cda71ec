"""Templates and spares: for each version of PostgreSQL a data directory that is ready to be copied.

The stock is kept ahead of any cluster, so it is no part of a node's plan.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from cenote.errors import CenoteError
from cenote.host.executor import Executor

log = logging.getLogger(__name__)

RESTOCK_DELAY_SECONDS = 0.3  # the cluster that took the spare goes first


async def keep_stock(executor: Executor, versions: Collection[str]) -> None:
    """Have a template and a spare of each version before the next cluster asks for one; until cancelled."""
    while True:
        made = []
        for version in versions:
            try:
                made.append(await executor.stock(version))
            except (CenoteError, OSError) as error:
                log.warning("no template for PostgreSQL %s: %s", version, error)
        if len(made) == len(versions):
            try:
                await executor.tidy(made)
            except OSError as error:
                log.warning("old templates cannot be removed: %s", error)
        await executor.copied()
        await asyncio.sleep(RESTOCK_DELAY_SECONDS)
