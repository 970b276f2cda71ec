"""The sweep of the repository: the backups of clusters that are gone for good are removed from it.

It looks at what is there and asks the store, so what a killed agent has left is removed by the next one, and
by any agent that reaches the repository.  What the store does not call gone is left: it may be another one's.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from cenote.agent.waiting import is_set_within
from cenote.engine.plan.context import HostContext
from cenote.errors import CenoteError
from cenote.host.backup_program import BackupProgram
from cenote.rules import lineages, sweep
from cenote.store.encoding import NewerFormat
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)

# What there is of a stanza, in this order: backups need their WAL, and a server that does not know that its
# cluster was recovered elsewhere archives nothing where the rest is not there.
PARTS = ("backup", "archive", lineages.FOLDER)
REMOVAL_SECONDS = 3600.0
_STANZA = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


class RepositorySweep:
    def __init__(
        self,
        store: HostStore,
        context: HostContext,
        program: BackupProgram,
        store_id: UUID | None,
        is_configured: asyncio.Event,
    ) -> None:
        """``store_id`` is that of the store that the data directory belongs to.

        ``is_configured``: this process has written what the repository is asked with.
        """
        self._is_configured = is_configured
        self._store, self._context, self._program, self._store_id = store, context, program, store_id
        self._configuration: Path = context.layout.repository_check
        self._gone = asyncio.Event()  # a cluster is gone, or was never of this store

    async def run(self) -> None:
        """Sweep at the start, at intervals and when a cluster is gone, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="ends of clusters")
            group.create_task(self._work(), name="sweeping the repository")

    async def _follow(self) -> None:
        with self._store.changes() as changes:
            async for id in changes:
                try:
                    if self._store.cluster(id) is None:
                        self._gone.set()
                except NewerFormat:
                    continue

    async def _work(self) -> None:
        timing = self._context.timing
        while True:
            pause = timing.repository_interval
            self._gone.clear()
            await self._is_configured.wait()
            try:
                await self.sweep()
            except (CenoteError, OSError) as error:
                log.info("the repository cannot be swept now: %s", error)
                pause = timing.repository_retry
            except Exception:
                log.exception("a defect in Cenote's sweep of the repository")
            await is_set_within(self._gone, pause)

    async def sweep(self) -> None:
        """Remove what is there of clusters that are gone."""
        found = {part: await self._stanzas(part) for part in PARTS}
        for id in sorted(set().union(*found.values()) - self._needed()):
            evidence = await self._store.evidence(id)
            if sweep.is_forgotten(evidence, store=self._store_id):
                await self._remove(id, [part for part in PARTS if id in found[part]])

    def _needed(self) -> set[UUID]:
        """Return the clusters that live, and those that others are just restored from."""
        living = self._store.living_clusters()
        sources = {one.restoration.source for one in living if one.restoration is not None}
        return sources | {cluster.id for cluster in living}

    async def _remove(self, id: UUID, parts: Iterable[str]) -> None:
        log.warning("the backups of cluster %s are removed: it is gone for good", id)
        for part in parts:
            await self._ask("--recurse", "repo-rm", f"{part}/{id}", seconds=REMOVAL_SECONDS)

    async def _stanzas(self, part: str) -> set[UUID]:
        names = (await self._ask("repo-ls", part, f"--filter={_STANZA}")).split()
        # Once more, since an older pgBackRest may take another kind of expression.
        return {UUID(name) for name in names if re.fullmatch(_STANZA, name)}

    async def _ask(self, *arguments: str, seconds: float = 60.0) -> str:
        return await self._program.run(
            self._configuration, self._configuration.parent, "", *arguments, seconds=seconds
        )
