"""Samples the pools of all clusters at intervals, more often those being watched.

The samples go into a ``ClusterHistory`` for each cluster, in memory only: it is lost with the process.  They
are read through the ``Observer``, so the hosts may be remote.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterable
from typing import Protocol
from uuid import UUID

from cenote.errors import Unavailable
from cenote.model.records import Cluster
from cenote.model.timing import DEFAULT, Timing
from cenote.stats.history import ClusterHistory, max_minutes
from cenote.stats.observer import MachineNumbers, Observer

log = logging.getLogger(__name__)

MAX_SAMPLES_PER_SECOND = 20.0  # of clusters not being watched; each takes some milliseconds
HISTORY_BYTES = 48 * 1024 * 1024  # of all pools together


class Watch:
    """A cluster being watched: the number of samples, and why the last one failed."""

    def __init__(self) -> None:
        self.samples = 0
        self.problem = ""
        self.watchers = 0
        self.task: asyncio.Task[None] | None = None
        self._event = asyncio.Event()

    def notify(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def next(self, seconds: float) -> bool:
        """Wait for the next sample or the end of the service; return False on timeout."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
                return True
        return False


class Clusters(Protocol):
    """Access to the records of clusters that are not deleted; the store provides it."""

    def living_cluster(self, id: UUID) -> Cluster | None: ...

    def living_clusters(self) -> Iterable[Cluster]: ...


class Sampler:
    """Keeps the histories: ``run`` samples all clusters; ``watch`` one, independent of ``run``."""

    def __init__(self, records: Clusters, observer: Observer, timing: Timing = DEFAULT) -> None:
        self._records, self._observer, self._timing = records, observer, timing
        self._histories: dict[UUID, ClusterHistory] = {}
        self._watches: dict[UUID, Watch] = {}
        self._ahead = time.time() - time.monotonic()
        self._most_minutes = max_minutes(0, HISTORY_BYTES)
        self.closed = False

    def history(self, id: UUID) -> ClusterHistory:
        """Return the history of a cluster; empty before its first sample."""
        return self._histories.get(id) or ClusterHistory()

    def now(self) -> float:
        """Return the Unix time, but monotonic: it never goes back, even if the clock is set back."""
        ahead = time.time() - time.monotonic()
        if ahead > self._ahead + 1:
            self._ahead = ahead
        return self._ahead + time.monotonic()

    async def run(self) -> None:
        """Sample all clusters that have pools, in turn, until cancelled."""
        while True:
            clusters = self._living()
            self._forget({cluster.id for cluster in clusters})
            pools = sum(len(cluster.pools) for cluster in clusters)
            self._most_minutes = max_minutes(pools, HISTORY_BYTES)
            pause = max(self._timing.sample_interval / max(1, len(clusters)), 1 / MAX_SAMPLES_PER_SECOND)
            for cluster in clusters:
                if cluster.id not in self._watches:
                    await self._sample(cluster.id)
                await asyncio.sleep(pause)
            if not clusters:
                await asyncio.sleep(self._timing.sample_interval)

    @contextlib.asynccontextmanager
    async def watch(self, id: UUID) -> AsyncIterator[Watch]:
        """Sample a cluster often while the block runs."""
        watch = self._watches.get(id)
        if watch is None:
            watch = self._watches[id] = Watch()
            watch.task = asyncio.create_task(self._sample_repeatedly(id, watch), name=f"watching {id}")
        watch.watchers += 1
        try:
            yield watch
        finally:
            watch.watchers -= 1
            if not watch.watchers:
                del self._watches[id]
                assert watch.task is not None
                watch.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watch.task

    def close(self) -> None:
        """Wake all watchers to end: the service shuts down."""
        self.closed = True
        for watch in self._watches.values():
            watch.notify()

    async def _sample_repeatedly(self, id: UUID, watch: Watch) -> None:
        while True:
            begin = time.monotonic()
            watch.problem = await self._sample(id)
            watch.samples += 1
            watch.notify()
            due = begin + self._timing.watched_sample_interval
            await asyncio.sleep(max(0.1, due - time.monotonic()))

    async def _sample(self, id: UUID) -> str:
        """Sample a cluster once; return the problem, empty on success."""
        try:
            return await self._add(id)
        except Unavailable as error:
            problem = error.message
        except TimeoutError:
            problem = "The pooler of this cluster does not answer in time."
        except (OSError, RuntimeError) as error:  # no file descriptor or no thread is left
            log.warning("cannot look at the pools of %s: %s", id, error)
            problem = "This service cannot look at the pools right now."
        except Exception:  # a defect in statistics must not end the service
            log.exception("looking at the pools of %s: a defect in Cenote", id)
            problem = "This service cannot look at the pools right now."
        if id in self._histories:
            self._histories[id].interrupt()
        return problem

    async def _add(self, id: UUID) -> str:
        cluster = self._records.living_cluster(id)
        if cluster is None:
            self._histories.pop(id, None)
            return "The cluster is gone."
        history = self._histories.setdefault(id, ClusterHistory())
        async with asyncio.timeout(self._timing.sample_timeout):
            numbers = await self._observer.pools(cluster)
            machine = await self._machine(cluster)
        history.add(self.now(), cluster.pools, numbers, machine, self._most_minutes)
        return ""

    async def _machine(self, cluster: Cluster) -> MachineNumbers | None:
        try:
            return await self._observer.machine(cluster)
        except Unavailable:
            return None  # pools are useful without it

    def _living(self) -> list[Cluster]:
        return [cluster for cluster in self._records.living_clusters() if cluster.pools]

    def _forget(self, living: set[UUID]) -> None:
        for id in self._histories.keys() - living - self._watches.keys():
            del self._histories[id]
