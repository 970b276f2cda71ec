"""Carries out the moves of clusters: follows those under way, and begins those of drained hosts.

What is to be done next is decided by ``moves``; each write is conditional on the record that it rests on.
Durations are measured by ``MoveClocks``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

from cenote.controller import moves
from cenote.controller.election import Election
from cenote.controller.move_clocks import MoveClocks
from cenote.errors import CenoteError, Conflict, NotFound, Unavailable
from cenote.model import topology
from cenote.model.event_records import EventType, Note
from cenote.model.records import Cluster
from cenote.rules import move_progress, record_formats
from cenote.rules import moves as move_rules
from cenote.rules.move_progress import Limits, Look
from cenote.rules.scheduling import Overcommit
from cenote.store import Changes, PortTaken, Store, Stored
from cenote.store.candidates import candidates
from cenote.store.encoding import NewerFormat

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
UNFIT_SECONDS = 3600.0  # in which a drain moves nothing to a host at which a copy failed again and again


class _Later(Exception):
    """No host takes a cluster while as many copies are made."""


class Mover:
    """``write_events`` writes what a cluster's agents have noted, before their reports are removed."""

    def __init__(
        self,
        store: Store,
        election: Election,
        write_events: Callable[[Cluster], Awaitable[None]],
        overcommit: Overcommit,
        limits: Limits = move_progress.DEFAULT,
    ) -> None:
        self._store, self._election, self._write_events = store, election, write_events
        self._overcommit, self._limits = overcommit, limits
        self._followed: set[UUID] = set()  # clusters that are being moved, or that have left a host
        self._clocks = MoveClocks()
        self._unfit: dict[str, float] = {}  # hosts that a drain moves nothing to, until when (monotonic)
        self._refused_ports: dict[str, set[int]] = {}
        self._hindrances: dict[UUID, str] = {}  # why a drain cannot move them, as it was logged

    async def run(self) -> None:
        """Run until cancelled or the store is closed."""
        while True:
            await self._election.elected.wait()
            self._followed.clear()
            self._clocks.clear()
            with self._store.changes(reports=True) as changes:
                async with asyncio.TaskGroup() as group:
                    losing = group.create_task(self._end_when_lost(changes), name="end of the election")
                    ticking = group.create_task(self._tick(changes), name="moves in time")
                    async for id in changes:
                        await self._guarded(id, self._look_at(id, changes))
                    is_lost = losing.done()
                    losing.cancel()
                    ticking.cancel()
            if not is_lost:
                return  # the store is closed

    async def _end_when_lost(self, changes: Changes) -> None:
        await self._election.lost.wait()
        changes.close()

    async def _tick(self, changes: Changes) -> None:
        """Look at what the time and the hosts change, and begin the moves of drained hosts."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            changes.notify(self._followed)
            await self._guarded(None, self._drain())

    async def _guarded(self, id: UUID | None, work: Awaitable[None]) -> None:
        try:
            await work
        except (NotFound, NewerFormat):
            return
        except (Unavailable, Conflict) as error:
            log.debug("the move of cluster %s goes on later: %s", id, error)
        except CenoteError as error:
            log.warning("the move of cluster %s: %s", id, error)
        except Exception:  # one cluster's record must not end the work on all others
            log.exception("the move of cluster %s: a defect in Cenote", id)

    # -- A move under way

    async def _look_at(self, id: UUID, changes: Changes) -> None:
        stored = self._store.cluster(id)
        if stored is None or stored.value.deleted_at is not None or not _is_followed(stored.value):
            self._clocks.forget(id)
            if id in self._followed:
                self._followed.discard(id)
                changes.notify(self._followed)  # one that waits to switch may do so
            return
        self._followed.add(id)
        cluster, reports = stored.value, self._store.reports(id)
        found = moves.step(
            cluster,
            stored.revision,
            reports,
            self._store.seen_hosts(),
            times=self._clocks.read(cluster, reports),
            may_switch=self._may_switch(id),
            limits=self._limits,
        )
        if found is None:
            return
        if len(found.cluster.left) < len(cluster.left):
            await self._write_events(cluster)
        log.info("cluster %s: %s", cluster.name, found.reason)
        if found.unfit:
            self._unfit[found.unfit] = time.monotonic() + UNFIT_SECONDS
        after = found.cluster
        await self._store.update_cluster(
            id,
            lambda current: after if current == cluster else current,
            found.event,
            self._election.condition(),
        )
        changes.notify(self._followed if _ends_switch(cluster, after) else {id})

    def _may_switch(self, id: UUID) -> bool:
        """Return whether no other cluster's clients are held at this moment."""
        hosts = self._store.seen_hosts()
        others = [self._look(other) for other in self._followed - {id}]
        return not any(
            look is not None and move_progress.is_switching(look, hosts, self._limits) for look in others
        )

    def _look(self, id: UUID) -> Look | None:
        stored = self._store.cluster(id)
        if stored is None or stored.value.deleted_at is not None:
            return None
        reports = self._store.reports(id)
        times = self._clocks.read(stored.value, reports)
        return move_progress.look_at(stored.value, stored.revision, reports, times)

    # -- Drained hosts

    async def _drain(self) -> None:
        hosts = self._store.seen_hosts()
        if not hosts.drained:
            self._hindrances.clear()
            self._refused_ports.clear()
            self._unfit.clear()
            return
        living = self._store.living_clusters()
        waiting = moves.to_be_moved(living, hosts)
        looks = [look for id in self._followed if (look := self._look(id)) is not None]
        if moves.has_turn(looks, hosts, self._limits):
            return  # clients are held for less time without another copy beside that
        copies = moves.copies(looks)
        for cluster in waiting:
            source = cluster.nodes[0].host
            if copies.get(source, 0) >= moves.COPIES_OF_A_HOST:
                continue
            stored = self._store.cluster(cluster.id)
            if stored is None:
                continue
            try:
                target = await self._begin(stored, copies)
            except PortTaken as error:
                self._refused_ports.setdefault(error.host, set()).update(error.ports)
            except _Later:
                continue
            except CenoteError as error:
                self._tell(cluster, str(error))
            except Exception:  # one cluster's record must not keep the others on the host
                log.exception("cluster %s: a defect in Cenote", cluster.name)
            else:
                for host in (source, target):
                    copies[host] = copies.get(host, 0) + 1

    def _tell(self, cluster: Cluster, reason: str) -> None:
        if self._hindrances.get(cluster.id) != reason:
            self._hindrances[cluster.id] = reason
            log.warning("cluster %s cannot be moved off its drained host yet: %s", cluster.name, reason)

    async def _begin(self, stored: Stored[Cluster], copies: dict[str, int]) -> str:
        """Begin the move of a cluster off a drained host; return the host that it is moved to."""
        cluster = stored.value
        record_formats.check_readers(self._store.known_hosts())
        seen = self._store.status(cluster.id, cluster.nodes[0].name)
        move_rules.check(cluster, seen, topology.status(cluster, seen))
        full = {host for host, number in copies.items() if number >= moves.COPIES_OF_A_HOST}
        now = time.monotonic()
        unfit = {host for host, until in self._unfit.items() if now < until}
        try:
            target = move_rules.target(
                cluster,
                candidates(self._store, self._refused_ports),
                limits=self._overcommit,
                spared=full | unfit,
            )
        except CenoteError:
            if full:  # once a copy has been made, it may be another answer
                raise _Later from None
            raise
        after = move_rules.begun(cluster, target, datetime.now(UTC))
        note = Note(what="moves it off its host, which is drained", type=EventType.CLUSTER_UPDATE)
        await self._store.update_cluster(
            cluster.id,
            lambda current: after if current == cluster else current,
            note,
            self._election.condition(),
        )
        return target.host


def _is_followed(cluster: Cluster) -> bool:
    return cluster.move is not None or bool(cluster.left)


def _ends_switch(before: Cluster, after: Cluster) -> bool:
    stages = [None if one.move is None else one.move.stage for one in (before, after)]
    return stages[0] is not stages[1]
