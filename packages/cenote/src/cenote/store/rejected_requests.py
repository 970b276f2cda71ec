"""Rejected requests in the audit trail, written in batches in the background.

They are kept apart from the changes, so that no number of them displaces those.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from datetime import UTC, datetime

from cenote.errors import Unavailable
from cenote.model.event_records import Event
from cenote.stats.rejected_requests import WINDOW, RejectedRequest, RejectedRequestCounter
from cenote.store import audit_log, etcd_messages
from cenote.store.encoding import encode
from cenote.store.keys import Keys
from cenote.store.tables import Tables
from cenote.store.writer import Writer

log = logging.getLogger(__name__)

MOST_REFUSALS = 2_000
MOST_WAITING = 200  # while etcd is away; the oldest give way
_AT_ONCE = 20  # of one transaction, which etcd bounds to 128 operations
_LAST_SECONDS = 2.0  # for the last of them, when the store closes


class Refusals:
    """Counts rejected requests, and writes what the counter reports."""

    def __init__(self, tables: Tables, writer: Writer, keys: Keys) -> None:
        self._tables = tables
        self._writer = writer
        self._keys = keys
        self._tally = RejectedRequestCounter()
        self._waiting: deque[RejectedRequest] = deque(maxlen=MOST_WAITING)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def add(self, refusal: RejectedRequest) -> None:
        first = self._tally.add(refusal)
        if first is not None:
            self._waiting.append(first)
            self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="refusals")

    async def close(self) -> None:
        """Write what is left, if etcd takes it within seconds."""
        if self._task is None:
            return
        self._closing = True
        self._wake.set()
        # A request to etcd that is cut off makes anyio's unix sockets log an error, so it is the last resort.
        _, late = await asyncio.wait([self._task], timeout=_LAST_SECONDS)
        for task in late:
            task.cancel()
        self._task, self._closing = None, False

    async def _work(self) -> None:
        while not self._closing:
            self._wake.clear()
            await self._try_to_write()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1 if self._waiting or len(self._tally) else None):
                    await self._wake.wait()
            self._waiting.extend(self._tally.due(datetime.now(UTC)))
        self._waiting.extend(self._tally.due(datetime.now(UTC) + 2 * WINDOW))
        await self._try_to_write()

    async def _try_to_write(self) -> None:
        try:
            await self._write()
        except Unavailable as error:
            log.warning("refused calls can't be noted yet: %s", error)

    async def _write(self) -> None:
        while self._waiting:
            batch = list(self._waiting)[:_AT_ONCE]
            if self._tables.refusals:
                self._keys.event_ids.saw(max(self._tables.refusals))
            events = [
                Event(
                    id=self._keys.event_ids.new(one.at),
                    at=one.at.replace(microsecond=0),
                    note=one.note,
                    cluster_id=one.cluster_id,
                    cluster_name=one.cluster_name,
                )
                for one in batch
            ]
            oldest = audit_log.oldest_beyond(self._tables.refusals, MOST_REFUSALS)
            await self._writer.write(
                [],
                [
                    *(etcd_messages.put(self._keys.refusal(event.id), encode(event)) for event in events),
                    *(etcd_messages.delete(self._keys.refusal(id)) for id in oldest),
                ],
            )
            for one in batch:
                with contextlib.suppress(ValueError):  # given way to newer ones meanwhile
                    self._waiting.remove(one)
