"""Empties the trash: of what has been there for its time, and while the disk is nearly full of the oldest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Set
from datetime import datetime
from pathlib import Path
from uuid import UUID

from cenote.engine.plan.context import HostContext
from cenote.errors import CenoteError
from cenote.host import system, trash
from cenote.model.paths import Layout
from cenote.model.status_records import DiskUse
from cenote.model.trash import TrashNote
from cenote.rules import sweep
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)


def _disk(folder: Path) -> DiskUse:
    return DiskUse(used_mib=0, free_mib=system.free_mib(folder), disk_mib=system.disk_mib(folder))


class Emptying:
    """Empties the trash of one host."""

    def __init__(
        self,
        store: HostStore,
        host: HostContext,
        store_id: UUID | None,
        on_look: Callable[[Set[UUID]], None],
    ) -> None:
        """``on_look`` is told of which clusters there is anything in the trash, whoever takes things out."""
        self._store, self._host, self._store_id, self._on_look = store, host, store_id, on_look
        self._is_stuck = False  # the disk is nearly full, and nothing can be removed for some time
        self._is_away = False  # the store, in this round

    async def empty(self) -> int:
        """Remove what is to go, and return how many things that were."""
        # A clock that is far ahead, before NTP has set it, empties nothing.
        now, layout = self._store.clock.now(), self._host.layout
        self._is_stuck = self._is_away = False
        return await empty_trash(layout, now, self._host.trash_days, is_needed=self._is_needed)

    async def look(self) -> None:
        """See what is there; empty it if the disk is nearly full."""
        names = await asyncio.to_thread(trash.names, self._host.layout)
        self._on_look({trash.cluster_of(name) for name in names})
        if names and not self._is_stuck and sweep.is_nearly_full(_disk(self._host.layout.trash)):
            self._is_stuck = not await self.empty()

    async def _is_needed(self, note: TrashNote) -> bool:
        """Return whether data must stay, as the store says at this moment; so it does while that is away."""
        assert note.deleted_at is not None
        if self._is_away:
            return True
        try:
            evidence = await self._store.evidence(note.cluster)
        except (CenoteError, OSError) as error:
            self._is_away = True
            log.warning("deleted clusters stay in the trash for now: %s", error)
            return True
        return sweep.is_needed(self._store.host_id, evidence, note.deleted_at, store=self._store_id)


async def _of_none(_: TrashNote) -> bool:
    return False


async def empty_trash(
    layout: Layout,
    now: datetime,
    days: int,
    disk: Callable[[Path], DiskUse] = _disk,
    *,
    is_needed: Callable[[TrashNote], Awaitable[bool]] = _of_none,
) -> int:
    """Remove what has been in the trash for its time, and the oldest while the disk is nearly full.

    What of deleted clusters ``is_needed`` stays: it is about to be brought back.  Return how many things were
    removed.
    """
    removed = 0
    await asyncio.to_thread(trash.remove_interrupted, layout)
    for entry in await asyncio.to_thread(trash.entries, layout):
        note, use = entry.note, disk(layout.trash)
        is_over = now > note.until if note is not None and note.until else sweep.is_over(entry.at, now, days)
        if not is_over and not sweep.is_nearly_full(use):
            continue
        if note is not None and note.deleted_at is not None and await is_needed(note):
            continue
        if is_over:
            log.info("the time of %s in the trash is over: it is removed", entry.path)
        else:
            log.warning(
                "%s is removed from the trash before its time: the disk has %d MiB left",
                entry.path,
                use.free_mib,
            )
        await asyncio.to_thread(trash.remove, entry)
        removed += 1
    return removed
