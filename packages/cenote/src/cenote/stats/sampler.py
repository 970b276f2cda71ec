"""Samples the pools of a host's nodes at intervals, more often those being watched.

The samples go into a ``ClusterHistory`` for each node, in memory only: it is lost with the process, which is
the agent's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from typing import Protocol
from uuid import UUID

from cenote.errors import Unavailable
from cenote.model.records import Cluster
from cenote.model.timing import DEFAULT, Timing
from cenote.stats.history import ClusterHistory, max_minutes
from cenote.stats.observer import MachineNumbers, PoolNumbers, Sample, Samples

log = logging.getLogger(__name__)

MAX_SAMPLES_PER_SECOND = 20.0  # of nodes not being watched; each takes some milliseconds
MOST_HURRIED = 20  # nodes that are sampled as often as those being watched, since their clients wait
FIRST_SAMPLES = 5  # of a new pool, which are taken as often, too
CALM_SAMPLES = 3  # without waiting clients, after which a node is sampled in turn again
HISTORY_BYTES = 48 * 1024 * 1024  # of all pools together
NEW_CLIENT_SECONDS = 15.0  # how far back a new client begins
RESUME_SECONDS = 15 * 60.0  # how far back a client can resume
SILENT_SECONDS = 5.0  # after which a client hears that there is still nothing

NodeKey = tuple[UUID, str]  # the id of the cluster and the name of the node


class Watch:
    """A node being watched: the number of samples, and why the last one failed."""

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


class Source(Protocol):
    """What is sampled; both raise Unavailable."""

    async def pools(self, cluster_id: UUID, node: str) -> Mapping[str, PoolNumbers]: ...

    async def machine(self, cluster_id: UUID, node: str) -> MachineNumbers: ...


class Sampler:
    """Keeps the histories: ``run`` samples all nodes of a host; ``watch`` one, independent of ``run``."""

    def __init__(self, records: Clusters, source: Source, host: str, timing: Timing = DEFAULT) -> None:
        """``host`` is the host as the records of nodes name it."""
        self._records, self._source, self._host, self._timing = records, source, host, timing
        self._histories: dict[NodeKey, ClusterHistory] = {}
        self._watches: dict[NodeKey, Watch] = {}
        self._hurried: set[NodeKey] = set()
        self._ahead = time.time() - time.monotonic()
        self._most_minutes = max_minutes(0, HISTORY_BYTES)
        self.closed = False

    def history(self, cluster_id: UUID, node: str) -> ClusterHistory:
        """Return the history of a node; empty before its first sample."""
        return self._histories.get((cluster_id, node)) or ClusterHistory()

    @property
    def watched(self) -> bool:
        """Whether some node is being sampled often."""
        return bool(self._watches)

    def now(self) -> float:
        """Return the Unix time; when the clock is set back, so are the histories."""
        ahead = time.time() - time.monotonic()
        if ahead < self._ahead - 1:
            for history in self._histories.values():
                history.shift(ahead - self._ahead)
        if abs(ahead - self._ahead) > 1:
            self._ahead = ahead
        return self._ahead + time.monotonic()

    async def run(self) -> None:
        """Sample all nodes that have pools, in turn and the urgent ones more often, until cancelled."""
        async with asyncio.TaskGroup() as group:
            await self._sample_in_turn(group)

    async def _sample_in_turn(self, group: asyncio.TaskGroup) -> None:
        while True:
            nodes = self._living()
            self._forget(nodes.keys())
            self._most_minutes = max_minutes(sum(nodes.values()), HISTORY_BYTES)
            pause = max(self._timing.sample_interval / max(1, len(nodes)), 1 / MAX_SAMPLES_PER_SECOND)
            for key in nodes:
                if key not in self._watches:
                    await self._sample(key)
                if key not in self._hurried and self._is_urgent(key) and len(self._hurried) < MOST_HURRIED:
                    self._hurried.add(key)
                    group.create_task(self._hurry(key), name=f"waiting clients of {key[1]}")
                await asyncio.sleep(pause)
            if not nodes:
                await asyncio.sleep(self._timing.sample_interval)

    async def _hurry(self, key: NodeKey) -> None:
        """Sample a node often while that is urgent."""
        try:
            async with self.watch(*key) as watch:
                while self._is_urgent(key) and not watch.problem and not self.closed:
                    await watch.next(SILENT_SECONDS)
        finally:
            self._hurried.discard(key)

    def _is_urgent(self, key: NodeKey) -> bool:
        """Return whether clients of a node wait, or one of its pools has too few samples for advice."""
        pools = [pool.samples for pool in self.history(*key).pools.values()]
        return any(
            len(pool) < FIRST_SAMPLES or any(pool["clients_waiting"][-CALM_SAMPLES:]) for pool in pools
        )

    @contextlib.asynccontextmanager
    async def watch(self, cluster_id: UUID, node: str) -> AsyncIterator[Watch]:
        """Sample a node often while the block runs."""
        key = cluster_id, node
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = Watch()
            watch.task = asyncio.create_task(self._sample_repeatedly(key, watch), name=f"watching {node}")
        watch.watchers += 1
        try:
            yield watch
        finally:
            watch.watchers -= 1
            if not watch.watchers:
                del self._watches[key]
                assert watch.task is not None
                watch.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watch.task

    async def follow(self, cluster_id: UUID, node: str, after: float) -> AsyncGenerator[Samples, None]:
        """Watch a node, and yield its samples after a time; ends when the sampler is closed."""
        last = max(after, self.now() - RESUME_SECONDS) if after else self.now() - NEW_CLIENT_SECONDS
        async with self.watch(cluster_id, node) as watch:
            while not self.closed:
                last = min(last, self.now())  # the clock may have been set back
                found = samples_after(self.history(cluster_id, node), last)
                last = found[-1].at if found else last
                yield Samples(samples=found, problem=watch.problem)
                await watch.next(SILENT_SECONDS)

    def close(self) -> None:
        """Wake all watchers to end: the process shuts down."""
        self.closed = True
        for watch in self._watches.values():
            watch.notify()

    async def _sample_repeatedly(self, key: NodeKey, watch: Watch) -> None:
        while True:
            begin = time.monotonic()
            watch.problem = await self._sample(key)
            watch.samples += 1
            watch.notify()
            due = begin + self._timing.watched_sample_interval
            await asyncio.sleep(max(0.1, due - time.monotonic()))

    async def _sample(self, key: NodeKey) -> str:
        """Sample a node once; return the problem, empty on success."""
        try:
            return await self._add(*key)
        except Unavailable as error:
            problem = error.message
        except TimeoutError:
            problem = "The pooler of this cluster does not answer in time."
        except (OSError, RuntimeError) as error:  # no file descriptor or no thread is left
            log.warning("cannot look at the pools of %s: %s", key[0], error)
            problem = "This service cannot look at the pools right now."
        except Exception:  # a defect in statistics must not end the service
            log.exception("looking at the pools of %s: a defect in Cenote", key[0])
            problem = "This service cannot look at the pools right now."
        if key in self._histories:
            self._histories[key].interrupt()
        return problem

    async def _add(self, cluster_id: UUID, node: str) -> str:
        cluster = self._records.living_cluster(cluster_id)
        if cluster is None:
            self._histories.pop((cluster_id, node), None)
            return "The cluster is gone."
        history = self._histories.setdefault((cluster_id, node), ClusterHistory())
        async with asyncio.timeout(self._timing.sample_timeout):
            numbers = await self._source.pools(cluster_id, node)
            machine = await self._machine(cluster_id, node)
        history.add(self.now(), cluster.pools, numbers, machine, self._most_minutes)
        return ""

    async def _machine(self, cluster_id: UUID, node: str) -> MachineNumbers | None:
        try:
            return await self._source.machine(cluster_id, node)
        except Unavailable:
            return None  # pools are useful without it

    def _living(self) -> dict[NodeKey, int]:
        """Return the nodes with pools, and how many."""
        return {
            (cluster.id, node.name): len(cluster.pools)
            for cluster in self._records.living_clusters()
            if cluster.pools
            for node in cluster.nodes
            if node.host == self._host
        }

    def _forget(self, living: Iterable[NodeKey]) -> None:
        for key in self._histories.keys() - living - self._watches.keys():
            del self._histories[key]


def samples_after(history: ClusterHistory, last: float) -> list[Sample]:
    """Return the samples of a history after a time, oldest first."""
    pools: dict[float, dict[str, dict[str, float]]] = {}
    for name, pool in history.pools.items():
        for at, row in pool.samples.rows(pool.samples.since(last)):
            if at > last:
                pools.setdefault(at, {})[name] = row
    machine = history.machine.samples
    found = []
    for at, rows in sorted(pools.items()):
        index = machine.since(at)
        if index < len(machine):
            busy, sessions = machine["busy"][index], int(machine["sessions"][index])
            found.append(Sample(at=at, pools=rows, busy=busy, sessions=sessions))
        else:
            found.append(Sample(at=at, pools=rows))
    return found
