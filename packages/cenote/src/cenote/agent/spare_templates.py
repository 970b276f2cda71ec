"""Maintains a template and its spare for each version of PostgreSQL.

They are made before any cluster needs them, so this is no part of a node's plan.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from cenote.errors import CenoteError
from cenote.host.executor import Executor

log = logging.getLogger(__name__)

RESTOCK_DELAY_SECONDS = 0.3  # leaves the disk to the cluster that took the spare


async def maintain_spares(executor: Executor, versions: Collection[str]) -> None:
    """Keep a template and a spare of each version ready, until cancelled."""
    while True:
        ready = []
        for version in versions:
            try:
                ready.append(await executor.prepare_template(version))
            except (CenoteError, OSError) as error:
                log.warning("cannot create the template for PostgreSQL %s: %s", version, error)
        if len(ready) == len(versions):
            try:
                await executor.remove_outdated_templates(ready)
            except OSError as error:
                log.warning("cannot remove outdated templates: %s", error)
        await executor.wait_for_copy()
        await asyncio.sleep(RESTOCK_DELAY_SECONDS)
