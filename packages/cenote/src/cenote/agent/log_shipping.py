"""Sends the logs of a host's clusters to their sinks: a task for each sink, which no other one waits for.

A sink reads on from the place that it has kept, and keeps a further one only for what has been delivered: so
whatever ends, the service or the peer, nothing is lost and the last lines may come twice.  What is wrong with
a sink goes into its state and our own log, never into a log that is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from msgspec.structs import replace

from cenote.errors import CenoteError, Unavailable
from cenote.host import files, log_files
from cenote.host.delivery import Destination
from cenote.host.executor import Executor
from cenote.host.log_reader import LogReader
from cenote.host.outbound import OutboundPolicy, Unreachable
from cenote.host.search_delivery import SearchDestination
from cenote.host.syslog_delivery import SyslogDestination
from cenote.logs import positions, sinks
from cenote.logs.positions import LogPosition
from cenote.logs.sinks import SinkNumbers, SyslogConfig
from cenote.model.records import Cluster, LogSink, LogSource, Note
from cenote.security.sealing import Sealer
from cenote.store.store import Store

log = logging.getLogger(__name__)

LOOK_EVERY = 0.3  # seconds between looks into a log
RETRY_FIRST, RETRY_MOST = 0.5, 60.0  # seconds
TELL_EVERY = 60.0  # seconds between events about losses of one sink
TIDY_EVERY = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class _Sent:
    """What was sent of a log up to a place, or was lost before it, and when."""

    source: LogSource
    place: LogPosition
    at: float
    refused: int = 0
    lost: int = 0


class LogShipping:
    """The sinks of all clusters of a host."""

    def __init__(self, store: Store, executor: Executor, sealer: Sealer, guard: OutboundPolicy) -> None:
        self._store, self._executor, self._sealer, self._guard = store, executor, sealer, guard
        self._tasks: dict[UUID, dict[UUID, SinkTask]] = {}

    def wake(self, cluster_id: UUID) -> None:
        """Have the sinks that a cluster has now, and no others."""
        stored = self._store.cluster(cluster_id)
        living = stored is not None and stored.value.deleted_at is None
        wanted = {sink.id: sink for sink in stored.value.sinks} if stored is not None and living else {}
        tasks = self._tasks.setdefault(cluster_id, {})
        for id, task in list(tasks.items()):
            if id in wanted and self._same(task.sink, wanted[id]):
                task.sink = wanted[id]
            else:
                task.end()
                if id not in wanted:
                    del tasks[id]
        for id, sink in wanted.items():
            before = tasks.get(id)
            if stored is not None and (before is None or before.sink != sink):
                tasks[id] = SinkTask(
                    self._store, self._executor, self._sealer, self._guard, stored.value, sink, before
                )
        if not tasks:
            del self._tasks[cluster_id]

    def _same(self, one: LogSink, other: LogSink) -> bool:
        """Return whether two sinks differ at most in the key that their configuration is sealed with."""
        if one == other:
            return True
        resealed = replace(one, sealed_config=other.sealed_config)
        return resealed == other and self._sealer.open(one.sealed_config) == self._sealer.open(
            other.sealed_config
        )

    def numbers(self, cluster: Cluster) -> Mapping[UUID, SinkNumbers]:
        return {id: task.numbers() for id, task in self._tasks.get(cluster.id, {}).items()}

    async def stop(self) -> None:
        tasks = [task for tasks in self._tasks.values() for task in tasks.values()]
        for task in tasks:
            task.end()
        await asyncio.gather(*(task.ended() for task in tasks))


class SinkTask:
    """One sink's share of the work."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        sealer: Sealer,
        guard: OutboundPolicy,
        cluster: Cluster,
        sink: LogSink,
        before: SinkTask | None,
    ) -> None:
        self.sink = sink
        self._store, self._executor, self._sealer, self._guard = store, executor, sealer, guard
        self._cluster = cluster
        self._paths = executor.layout.node(cluster.id)
        self._positions = positions.Positions(places={})
        self._sent: deque[_Sent] = deque()
        self._state, self._reason, self._remark = "starting", "", ""
        self._delivered_at: datetime | None = None
        self._retry = RETRY_FIRST
        self._untold: list[str] = []
        self._tell_at = self._tidy_at = 0.0
        self._task = asyncio.create_task(self._run(before), name=f"log sink {sink.id}")

    def end(self) -> None:
        self._task.cancel()

    async def ended(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([self._task])

    def numbers(self) -> SinkNumbers:
        return SinkNumbers(
            state=self._state,
            reason=self._reason or self._remark,
            delivered_at=self._delivered_at,
            lag_bytes=sum(self._lag(source) for source in LogSource),
            lost_bytes=self._positions.lost_bytes,
            refused_messages=self._positions.refused_messages,
        )

    def _lag(self, source: LogSource) -> int:
        try:
            end = log_files.end(self._paths.log(source))
        except OSError:
            return 0
        place = self._positions.at(source)
        return max(0, end.at - (place.at if place.file == end.file else 0))

    async def _run(self, before: SinkTask | None) -> None:
        if before is not None:
            await before.ended()  # or two would write how far the sink has got
        while True:
            try:
                await self._ship()
            except (CenoteError, OSError) as error:
                self._failed(
                    error.message if isinstance(error, CenoteError) else error.strerror or "input failed"
                )
            except Exception:
                log.exception("cluster %s: a defect in Cenote", self._cluster.name)
                self._failed("an unexpected error; see Cenote's log")
            await asyncio.sleep(self._retry * random.uniform(0.5, 1))  # noqa: S311 - not all at once
            self._retry = min(self._retry * 2, RETRY_MOST)

    async def _ship(self) -> None:
        """Send what there is and what comes, until something is wrong with that."""
        await self._begin()
        readers = {
            source: LogReader(self._paths.log(source), source, self._positions.at(source))
            for source in LogSource
        }
        self._sent.clear()
        peer = self._peer()
        try:
            while True:
                sent = [await self._ship_from(readers[source], source, peer) for source in LogSource]
                self._confirm(peer)
                await self._tell()
                await self._tidy(peer)
                if not any(sent):
                    await asyncio.sleep(LOOK_EVERY)
        finally:
            await peer.close()

    async def _begin(self) -> None:
        """Wait for the place to begin from, which the node's pass writes (``engine/sinks.py``)."""
        path = self._paths.sink(self.sink.id)
        while (content := files.read(path)) is None:
            await asyncio.sleep(LOOK_EVERY)
        self._positions = positions.read(content)

    def _peer(self) -> Destination:
        config = sinks.read(self.sink.type, self._sealer.open(self.sink.sealed_config))
        if isinstance(config, SyslogConfig):
            return SyslogDestination(self._guard, config, self._cluster.name)
        return SearchDestination(self._guard, config, self._cluster.id, self._cluster.name)

    async def _ship_from(self, reader: LogReader, source: LogSource, peer: Destination) -> bool:
        """Send a batch of one log; return whether there was any."""
        batch, loop = await reader.more(), asyncio.get_running_loop()
        if batch.words:
            self._note(batch.words)
            begin = batch.messages[0].start if batch.messages else batch.place.at
            place = LogPosition(file=batch.place.file, at=begin)
            if any(sent.source == source for sent in self._sent):
                # What was sent before the loss is not sure yet, so no place after it may be kept.
                self._sent.append(_Sent(source, place, loop.time(), lost=batch.lost))
            else:
                self._keep(source, place, lost=batch.lost)
        if not batch.messages:
            return False
        self._check(peer)
        refused, why = await peer.deliver(batch.messages)
        if refused:
            self._note(f"{refused} messages of the log of {source} were not taken: {why}")
        self._sent.append(_Sent(source, batch.place, loop.time(), refused))
        return True

    def _confirm(self, peer: Destination) -> None:
        """Keep how far the sink has got, as far as that is sure."""
        self._check(peer)
        sure = asyncio.get_running_loop().time() - peer.held
        while self._sent and self._sent[0].at <= sure:
            sent = self._sent.popleft()
            self._keep(sent.source, sent.place, lost=sent.lost, refused=sent.refused)
            self._state, self._reason, self._retry = "delivering", "", RETRY_FIRST
            self._delivered_at = datetime.now(UTC)

    def _check(self, peer: Destination) -> None:
        """Raise Unreachable where what is not sure yet has gone down with its connection."""
        if self._sent and peer.broken:
            raise Unreachable(peer.broken)

    def _keep(self, source: LogSource, place: LogPosition, *, lost: int = 0, refused: int = 0) -> None:
        known = self._positions
        self._positions = replace(
            known,
            places={**known.places, source: place},
            lost_bytes=known.lost_bytes + lost,
            refused_messages=known.refused_messages + refused,
        )
        path, owner = self._paths.sink(self.sink.id), self._executor.account.owner
        files.write(path, positions.written(self._positions), 0o600, owner)

    def _failed(self, reason: str) -> None:
        if reason != self._reason:
            log.warning("cluster %s: log sink %r: %s", self._cluster.name, self.sink.name, reason)
        self._state, self._reason = "failing", reason

    def _note(self, what: str) -> None:
        log.warning("cluster %s: log sink %r: %s", self._cluster.name, self.sink.name, what)
        self._untold = [*self._untold[-9:], what]

    async def _tell(self) -> None:
        """Write an event of what was lost, not more than one a minute."""
        now = asyncio.get_running_loop().time()
        if not self._untold or now < self._tell_at:
            return
        self._tell_at = now + TELL_EVERY
        note = Note(what=f"log sink {self.sink.name!r}: {'; '.join(self._untold)}")
        try:
            await self._store.remember(self._cluster, note)
        except Unavailable:
            return  # later, then
        self._untold = []

    async def _tidy(self, peer: Destination) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._tidy_at:
            return
        self._tidy_at = now + TIDY_EVERY
        try:
            await peer.tidy(datetime.now(UTC).date())
            self._remark = ""
        except CenoteError as error:
            self._tidy_at = now + TELL_EVERY
            self._remark = f"old indices are not dropped: {error.message}"
