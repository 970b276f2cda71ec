"""Sends the logs of a host's nodes to the sinks of their clusters, with a task for each node and sink.

A sink resumes from its saved position, which advances only past delivered messages, so delivery is at least
once, whether the service or the destination fails.  Problems of a sink go into its state and our own log,
never into a log that is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from cenote.errors import CenoteError, Misconfigured, Unavailable
from cenote.host import files, log_files
from cenote.host.delivery import Destination
from cenote.host.executor import Executor
from cenote.host.log_reader import LogReader
from cenote.host.outbound import OutboundPolicy, Unreachable
from cenote.host.search_delivery import SearchDestination
from cenote.host.syslog_delivery import SyslogDestination
from cenote.logs import positions, sinks
from cenote.logs.place import Place
from cenote.logs.positions import LogPosition
from cenote.logs.sinks import SinkStatus, SyslogConfig
from cenote.model.event_records import Note
from cenote.model.paths import FIRST_NODE
from cenote.model.records import Cluster, LogSink, LogSource
from cenote.model.timing import DEFAULT, Timing
from cenote.security.sealing import Sealer
from cenote.store.encoding import NewerFormat
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)


LAG = timedelta(days=1)
_Key = tuple[str, UUID]  # the name of a node and the id of a sink


@dataclass(frozen=True, slots=True)
class _Unconfirmed:
    """Messages up to a position of a log that were sent or lost, and when; not yet confirmed."""

    source: LogSource
    position: LogPosition
    at: float
    refused: int = 0
    lost: int = 0


class LogShipping:
    """The log sinks of all clusters of a host."""

    def __init__(
        self,
        store: HostStore,
        executor: Executor,
        sealer: Sealer,
        policy: OutboundPolicy,
        timing: Timing = DEFAULT,
        host_name: str = "",
    ) -> None:
        """``host_name`` is this host's, as those who receive the logs are told."""
        self._store, self._executor, self._sealer, self._policy = store, executor, sealer, policy
        self._timing, self._host_name = timing, host_name
        self._tasks: dict[UUID, dict[_Key, SinkTask]] = {}

    def wake(self, cluster_id: UUID) -> None:
        """Start, restart and stop tasks to match the sinks in the cluster's record."""
        try:
            stored = self._store.cluster(cluster_id)
        except NewerFormat:
            return  # what runs goes on
        tasks = self._tasks.setdefault(cluster_id, {})
        exists = stored is not None and stored.value.deleted_at is None
        wanted = {} if stored is None or not exists else self._wanted(stored.value)
        of_pooler = {id: task for (_, id), task in tasks.items() if LogSource.PGBOUNCER in task.sources}
        for key, task in list(tasks.items()):
            if key in wanted and self._same(task, *wanted[key]):
                task.sink = wanted[key][0]
            else:
                task.end()
                if key not in wanted:
                    del tasks[key]
        for key, (sink, sources) in wanted.items():
            previous = tasks.get(key)
            if stored is not None and (
                previous is None or (previous.sink, previous.sources) != (sink, sources)
            ):
                tasks[key] = SinkTask(
                    self._store,
                    self._executor,
                    self._sealer,
                    self._policy,
                    self._timing,
                    stored.value,
                    sink,
                    previous,
                    self._host_name,
                    key[0],
                    sources,
                    of_pooler.get(sink.id),
                )
        if not tasks:
            del self._tasks[cluster_id]

    def _wanted(self, cluster: Cluster) -> dict[_Key, tuple[LogSink, tuple[LogSource, ...]]]:
        """Return the sinks of each node here, with the logs that are sent for it.

        The nodes of a cluster on one host share a pooler, whose log is sent for the first of them.
        """
        names = [node.name for node in cluster.nodes if node.host == self._store.host_id]
        return {
            (name, sink.id): (sink, tuple(LogSource) if name == names[0] else (LogSource.POSTGRES,))
            for name in names
            for sink in cluster.sinks
        }

    def _same(self, task: SinkTask, other: LogSink, sources: tuple[LogSource, ...]) -> bool:
        """Return whether a task differs at most in the key that its configuration is sealed with.

        A configuration that does not open is not the same.
        """
        one = task.sink
        if task.sources != sources:
            return False
        if one == other:
            return True
        if replace(one, sealed_config=other.sealed_config) != other:
            return False
        try:
            return self._sealer.open(one.sealed_config) == self._sealer.open(other.sealed_config)
        except Misconfigured:
            return False

    def numbers(self, cluster_id: UUID, node: str) -> Mapping[UUID, SinkStatus]:
        """Return the delivery status of a node's logs by sink."""
        tasks = self._tasks.get(cluster_id, {})
        return {id: task.numbers() for (name, id), task in tasks.items() if name == node}

    async def stop(self) -> None:
        tasks = [task for tasks in self._tasks.values() for task in tasks.values()]
        for task in tasks:
            task.end()
        await asyncio.gather(*(task.ended() for task in tasks))


class SinkTask:
    """Delivers logs of a node to one sink."""

    def __init__(
        self,
        store: HostStore,
        executor: Executor,
        sealer: Sealer,
        policy: OutboundPolicy,
        timing: Timing,
        cluster: Cluster,
        sink: LogSink,
        previous: SinkTask | None,
        host_name: str,
        node_name: str = FIRST_NODE,
        sources: tuple[LogSource, ...] = tuple(LogSource),
        of_pooler: SinkTask | None = None,
    ) -> None:
        """``previous`` is the node's task that this one takes over from, ``of_pooler`` the pooler's log's."""
        self.sink, self.sources = sink, sources
        self._store, self._executor, self._sealer, self._policy = store, executor, sealer, policy
        self._timing, self._cluster = timing, cluster
        self._node_name = node_name
        self._paths = executor.layout.node(cluster.id, self._node_name)
        self._place = Place(cluster.id, cluster.name, self._node_name, host_name)
        self._positions = positions.Positions(places={})
        self._unconfirmed: deque[_Unconfirmed] = deque()
        self._state, self._reason, self._warning = "starting", "", ""
        self._delivered_at: datetime | None = None
        self._newest: datetime | None = None  # the time of the newest delivered message
        self._retry = timing.log_retry_first
        self._unreported_losses: list[str] = []
        self._next_loss_event_at = self._next_drop_at = 0.0
        self._task = asyncio.create_task(self._run(previous, of_pooler), name=f"log sink {sink.id}")

    def end(self) -> None:
        self._task.cancel()

    async def ended(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([self._task])

    def numbers(self) -> SinkStatus:
        return SinkStatus(
            state=self._state,
            reason=self._reason or self._warning,
            delivered_at=self._delivered_at,
            lag_bytes=sum(self._lag(source) for source in self.sources),
            lost_bytes=self._positions.lost_bytes,
            refused_messages=self._positions.refused_messages,
        )

    def _lag(self, source: LogSource) -> int:
        try:
            end = log_files.end(self._paths.log(source))
        except OSError:
            return 0
        position = self._positions.at(source)
        return max(0, end.at - (position.at if position.file == end.file else 0))

    async def _run(self, previous: SinkTask | None, of_pooler: SinkTask | None) -> None:
        if previous is not None:
            await previous.ended()  # or two tasks would write the position
        if of_pooler not in (None, previous) and LogSource.PGBOUNCER in self.sources:
            await self._take_over(of_pooler)
        while True:
            try:
                await self._ship()
            except (CenoteError, OSError) as error:
                self._fail(
                    error.message if isinstance(error, CenoteError) else error.strerror or "input failed"
                )
            except Exception:
                log.exception("cluster %s: a defect in Cenote", self._cluster.name)
                self._fail("an unexpected error; see Cenote's log")
            await asyncio.sleep(self._retry * random.uniform(0.5, 1))  # noqa: S311 - not all at once
            self._retry = min(self._retry * 2, self._timing.log_retry_max)

    async def _take_over(self, other: SinkTask) -> None:
        """Go on with the pooler's log where the task of a node that has left the host has ended."""
        await other.ended()
        await self._read_start_positions()
        self._save_position(LogSource.PGBOUNCER, other.position(LogSource.PGBOUNCER))

    def position(self, source: LogSource) -> LogPosition:
        """Return how far a log is known to be delivered."""
        return self._positions.at(source)

    async def _ship(self) -> None:
        """Send messages as they are written, until an error."""
        await self._read_start_positions()
        readers = {
            source: LogReader(self._paths.log(source), source, self._positions.at(source), self._timing)
            for source in self.sources
        }
        self._unconfirmed.clear()
        destination = self._destination()
        try:
            while True:
                sent = [
                    await self._ship_from(reader, source, destination) for source, reader in readers.items()
                ]
                self._confirm(destination)
                await self._write_loss_event()
                await self._drop_expired(destination)
                if not any(sent):
                    await asyncio.sleep(self._timing.log_poll_interval)
        finally:
            await destination.close()

    async def _read_start_positions(self) -> None:
        """Wait for the start positions, which a node pass writes (``engine/plan/log_positions.py``)."""
        path = self._paths.sink(self.sink.id)
        while (content := files.read(path)) is None:
            await asyncio.sleep(self._timing.log_poll_interval)
        self._positions = positions.decode(content)

    def _destination(self) -> Destination:
        config = sinks.decode(self.sink.type, self._sealer.open(self.sink.sealed_config))
        if isinstance(config, SyslogConfig):
            return SyslogDestination(self._policy, config, self._place)
        return SearchDestination(self._policy, config, self._place)

    async def _ship_from(self, reader: LogReader, source: LogSource, destination: Destination) -> bool:
        """Send a batch of one log; return whether there was one."""
        batch, loop = await reader.read(), asyncio.get_running_loop()
        if batch.problem:
            self._warn(batch.problem)
            begin = batch.messages[0].start if batch.messages else batch.position.at
            position = LogPosition(file=batch.position.file, at=begin)
            if any(sent.source == source for sent in self._unconfirmed):
                # Messages before the loss are not confirmed yet, so no later position may be saved.
                self._unconfirmed.append(_Unconfirmed(source, position, loop.time(), lost=batch.lost))
            else:
                self._save_position(source, position, lost=batch.lost)
        if not batch.messages:
            return False
        self._check_connection(destination)
        refused, why = await destination.deliver(batch.messages)
        if refused:
            self._warn(f"{refused} messages of the log of {source} were rejected: {why}")
        self._unconfirmed.append(_Unconfirmed(source, batch.position, loop.time(), refused))
        times = [message.at for message in batch.messages if message.at is not None]
        self._newest = max(filter(None, (self._newest, *times)), default=None)
        return True

    def _confirm(self, destination: Destination) -> None:
        """Save the position of the messages that count as delivered by now."""
        self._check_connection(destination)
        confirmed_before = asyncio.get_running_loop().time() - destination.confirmation_delay
        while self._unconfirmed and self._unconfirmed[0].at <= confirmed_before:
            sent = self._unconfirmed.popleft()
            self._save_position(sent.source, sent.position, lost=sent.lost, refused=sent.refused)
            self._state, self._reason = "delivering", ""
            self._retry = self._timing.log_retry_first
            self._delivered_at = datetime.now(UTC)

    def _check_connection(self, destination: Destination) -> None:
        """Raise Unreachable if the connection broke with unconfirmed messages."""
        if self._unconfirmed and destination.broken:
            raise Unreachable(destination.broken)

    def _save_position(
        self, source: LogSource, position: LogPosition, *, lost: int = 0, refused: int = 0
    ) -> None:
        known = self._positions
        self._positions = replace(
            known,
            places={**known.places, source: position},
            lost_bytes=known.lost_bytes + lost,
            refused_messages=known.refused_messages + refused,
        )
        # Not worth a sync for each batch: without the file, the log is sent from its beginning.
        content = positions.encode(self._positions)
        files.write(self._paths.sink(self.sink.id), content, 0o600, None, durable=False)

    def _fail(self, reason: str) -> None:
        if reason != self._reason:
            log.warning("cluster %s: log sink %r: %s", self._cluster.name, self.sink.name, reason)
        self._state, self._reason = "failing", reason

    def _warn(self, what: str) -> None:
        log.warning("cluster %s: log sink %r: %s", self._cluster.name, self.sink.name, what)
        self._unreported_losses = [*self._unreported_losses[-9:], what]

    async def _write_loss_event(self) -> None:
        """Write an event for losses, at most one a minute."""
        now = asyncio.get_running_loop().time()
        if not self._unreported_losses or now < self._next_loss_event_at:
            return
        self._next_loss_event_at = now + self._timing.log_loss_event_interval
        note = Note(what=f"log sink {self.sink.name!r}: {'; '.join(self._unreported_losses)}")
        try:
            await self._store.remember(self._cluster.id, self._node_name, note)
        except Unavailable:
            return  # the next call tries again
        self._unreported_losses = []

    async def _drop_expired(self, destination: Destination) -> None:
        """Have what is old deleted: its age is counted from the newest message that was delivered.

        The clock may be far ahead, and all would be old then.
        """
        now = asyncio.get_running_loop().time()
        if now < self._next_drop_at or self._newest is None:
            return
        self._next_drop_at = now + self._timing.log_housekeeping_interval
        settled, clock = self._store.clock.now(), datetime.now(UTC)
        try:
            await destination.drop_expired(min(self._newest, settled).date())
            self._warning = "" if settled > clock - LAG else _jumped(clock, settled)
        except CenoteError as error:
            self._next_drop_at = now + self._timing.log_loss_event_interval
            self._warning = f"old indices cannot be dropped: {error.message}"


def _jumped(clock: datetime, settled: datetime) -> str:
    return (
        f"the clock has jumped ahead, from {settled:%Y-%m-%d} to {clock:%Y-%m-%d}: old indices are kept "
        "until it has said so for a day"
    )
