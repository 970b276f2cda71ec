"""Thins the history of a cluster as soon as much was written to it, before the next pruning.

A client may change a large record thousands of times an hour, and etcd takes no more writes when it is full.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from uuid import UUID

from cenote.errors import CenoteError
from cenote.store import pruning
from cenote.store.client import EtcdClient
from cenote.store.keys import Keys
from cenote.store.settled_clock import SettledClock
from cenote.store.writer import Writer

log = logging.getLogger(__name__)

EVERY_BYTES = 1 << 20  # written by this process to the history of one cluster
CLOSE_SECONDS = 2.0


class Thinning:
    def __init__(self, client: EtcdClient, writer: Writer, keys: Keys, clock: SettledClock) -> None:
        self._clock = clock
        self._client, self._writer, self._keys = client, writer, keys
        self._written: Counter[UUID] = Counter()
        self._tasks: dict[UUID, asyncio.Task[None]] = {}

    def wrote(self, cluster_id: UUID, size: int) -> None:
        """Count what is being written, and thin the history in the background when it is much."""
        self._written[cluster_id] += size
        if self._written[cluster_id] >= EVERY_BYTES and cluster_id not in self._tasks:
            del self._written[cluster_id]
            task = asyncio.create_task(self._thin(cluster_id), name=f"thinning {cluster_id}")
            self._tasks[cluster_id] = task
            task.add_done_callback(lambda _: self._tasks.pop(cluster_id, None))

    async def close(self) -> None:
        """Let what is under way end, if that takes seconds at most."""
        if not self._tasks:
            return
        # A request to etcd that is cut off leaves its socket open, so it is the last resort.
        _, late = await asyncio.wait(list(self._tasks.values()), timeout=CLOSE_SECONDS)
        for task in late:
            task.cancel()

    async def _thin(self, cluster_id: UUID) -> None:
        try:
            await pruning.thin_history(
                self._client, self._writer, self._keys.history(cluster_id), self._clock.now()
            )
        except CenoteError as error:
            log.warning("cluster %s: its history is thinned later: %s", cluster_id, error)
