"""Marks in the WAL of clusters that others are restored from.

A recovery to a moment after which nothing was committed could not tell whether the archive reaches it.  So a
server whose cluster is the source of a restore commits something after that moment, which is in no table,
and begins another segment, so that it is archived at once.  It follows from the records alone; a mark that
is made twice does no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from cenote.agent.node_pass import session_of
from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import HostContext, NodeContext, NodeKind
from cenote.errors import CenoteError
from cenote.model.records import Restoration
from cenote.store.encoding import NewerFormat
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)

_MARK = "SELECT pg_logical_emit_message(true, 'cenote', 'mark')"
_SWITCH = "SELECT pg_switch_wal()"


class ArchiveMarks:
    """Makes the marks of one host."""

    def __init__(self, store: HostStore, context: HostContext) -> None:
        self._store, self._context = store, context
        self._changed = asyncio.Event()
        self._made: set[tuple[UUID, datetime]] = set()  # restores that one was made for

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="records of restores")
            group.create_task(self._work(), name="marks")

    async def _follow(self) -> None:
        with self._store.changes() as changes:
            async for id in changes:
                if self._restoration_of(id) is not None:
                    self._changed.set()

    def _restoration_of(self, id: UUID) -> Restoration | None:
        with contextlib.suppress(NewerFormat):
            stored = self._store.cluster(id)
            return None if stored is None else stored.value.restoration
        return None

    async def _work(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            waiting = self._waiting()
            self._made &= {key for key, *_ in waiting}
            for key, context, moment in waiting:
                if key in self._made:
                    continue
                if datetime.now(UTC) > moment and await self._mark(context):
                    self._made.add(key)
                else:
                    self._changed.set()
            if self._changed.is_set():
                await asyncio.sleep(self._context.timing.backup_poll_interval)

    def _waiting(self) -> list[tuple[tuple[UUID, datetime], NodeContext, datetime]]:
        """Return the restores whose source has its server here, and the moments they are to."""
        return [
            ((cluster.id, restoration.asked_at), context, restoration.target or restoration.asked_at)
            for cluster in self._store.living_clusters()
            if (restoration := cluster.restoration) is not None and not restoration.live
            for context in self._sources(restoration)
        ]

    def _sources(self, restoration: Restoration) -> Iterator[NodeContext]:
        with contextlib.suppress(NewerFormat):
            stored = self._store.cluster(restoration.source)
            if stored is None or stored.value.deleted_at is not None:
                return
            for node in stored.value.nodes:
                leader = self._store.leader(stored.value)
                context = NodeContext(stored.value, node, self._context, leader=leader)
                if node.host == self._store.host_id and NodeKind.WRITER in context.kinds:
                    yield context

    async def _mark(self, context: NodeContext) -> bool:
        session = session_of(context)
        try:
            await session.rows(SUPERUSER, _MARK)
            await session.rows(SUPERUSER, _SWITCH)
        except (CenoteError, OSError) as error:  # its own report says why it does not answer
            log.debug("cluster %s: no mark in its WAL: %s", context.in_words, error)
            return False
        else:
            return True
        finally:
            await session.close()
