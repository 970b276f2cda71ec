"""Carries out planned switches and rolling restarts, and tells of each promotion.

``switches`` and ``rolling`` decide.  Durations are measured by the monotonic clock of this process: a
controller that takes over begins them anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from uuid import UUID

from cenote.controller import rolling, step_writing, switches
from cenote.controller.election import Election
from cenote.errors import CenoteError, Conflict, NotFound, Unavailable
from cenote.model import topology
from cenote.model.records import Cluster, Switchover, SwitchStage
from cenote.rules import failover_settings, record_formats
from cenote.rules.rolling import Look
from cenote.store import Changes, Store, Stored
from cenote.store.encoding import NewerFormat

log = logging.getLogger(__name__)

LEAST_SECONDS = 0.1  # between two looks
REASON_SECONDS = 1.5  # in which the agent of a node that gave up says why
RESTART_SECONDS = 1.0  # the same for a restart that is due
LED_SECONDS = 3.0  # in which hosts have to report that their clients are led to the node of a switch
ASKED = "a switch was asked for"


class Switcher:
    def __init__(self, store: Store, election: Election) -> None:
        self._store, self._election = store, election
        self._stages: dict[UUID, tuple[tuple[str, SwitchStage], float]] = {}  # and since when (monotonic)
        self._leaderless: dict[UUID, float] = {}
        self._led: dict[UUID, tuple[str, float, float | None]] = {}  # to which node, since when, after what
        self._asked: dict[UUID, str] = {}  # the attempts that Patroni was told of
        self._withdrawn: set[UUID] = set()  # clusters of which Patroni has nothing left to carry out
        self._timers: dict[UUID, asyncio.TimerHandle] = {}

    async def run(self) -> None:
        """Run until cancelled or the store is closed."""
        while True:
            await self._election.elected.wait()
            for known in (self._stages, self._leaderless, self._asked, self._led):
                known.clear()
            self._withdrawn.clear()  # a former controller may have asked, or been about to take back
            with self._store.changes(reports=True) as changes:
                async with asyncio.TaskGroup() as group:
                    losing = group.create_task(self._end_when_lost(changes), name="end of the election")
                    async for id in changes:
                        await self._guarded(id, self._look_at(id, changes))
                    is_lost = losing.done()
                    losing.cancel()
            if not is_lost:
                return  # the store is closed

    async def _end_when_lost(self, changes: Changes) -> None:
        await self._election.lost.wait()
        changes.close()

    async def _guarded(self, id: UUID, work: Awaitable[None]) -> None:
        try:
            await work
        except (NotFound, NewerFormat):
            return
        except (Unavailable, Conflict) as error:
            log.debug("the switch of cluster %s goes on later: %s", id, error)
            asyncio.get_running_loop().call_later(0.5, self._store.notify, {id})
        except CenoteError as error:
            log.warning("the switch of cluster %s: %s", id, error)
        except Exception:  # one cluster's record must not end the work on all others
            log.exception("the switch of cluster %s: a defect in Cenote", id)

    async def _look_at(self, id: UUID, changes: Changes) -> None:
        stored = self._store.cluster(id)
        if stored is None or stored.value.deleted_at is not None or not topology.has_standbys(stored.value):
            for known in (self._stages, self._leaderless, self._asked, self._led):
                known.pop(id, None)
            self._withdrawn.discard(id)
            if stored is not None and stored.value.deleted_at is None:
                await self._restart(stored, None, changes)  # what the record says of it ends
            return
        cluster, leader = stored.value, self._store.leader(stored.value)
        if not switches.is_asked_for(cluster, self._asked.get(id)) and not await self._withdraw(id):
            self._look_again(id, LEAST_SECONDS, changes)  # a node may be taking over
        if leader is None:
            self._leaderless.setdefault(id, time.monotonic())
        since, seconds = self._led_since(id, leader)
        held = self._held(cluster, leader)
        is_silent = self._store.is_silent(id, cluster.primary)
        if is_silent and seconds is not None:
            seconds += failover_settings.seconds(cluster)  # in which it renewed no lease
        reason = self._reason(cluster, leader, is_silent=is_silent)
        # Its lease had not ended: Patroni there gave the lead up by itself.
        why = reason or f"PostgreSQL of {cluster.primary} has ended, or cannot go on"
        switch = cluster.switchover
        is_planned = switch is not None and leader == switch.target
        # How long no node had the key of a planned switch says nothing: its clients were held before.
        step = switches.promoted(cluster, leader, why, None if is_planned else seconds, held)
        if step is not None and record_formats.are_read(self._store.known_hosts(), record_formats.WITH_NODES):
            led_for = time.monotonic() - since
            if (is_planned and held is None and led_for < LED_SECONDS) or (
                not reason and led_for < REASON_SECONDS
            ):
                self._look_again(id, LEAST_SECONDS, changes)
                return
            await self._write(cluster, step)
            return  # the change of the record has it looked at again
        if leader is not None:
            self._leaderless.pop(id, None)
        if cluster.switchover is not None:
            await self._switch(cluster, cluster.switchover, leader, changes)
        else:
            await self._restart(stored, leader, changes)

    async def _switch(
        self, cluster: Cluster, switch: Switchover, leader: str | None, changes: Changes
    ) -> None:
        hosts, waited = self._store.seen_hosts(), self._waited(cluster.id, switch)
        reports = self._store.reports(cluster.id)
        refused = switch.stage is SwitchStage.SWITCHING and leader == switch.source
        refused = refused and not await self._ask(cluster, switch)
        step = switches.step(
            cluster,
            leader,
            reports,
            hosts.alive,
            waited=waited,
            now=hosts.now,
            refused=refused,
            asked=self._asked.get(cluster.id) == switch.attempt,
        )
        if step is not None and await self._may(cluster, switch, step):
            after = step.cluster.switchover
            if after is not None and after.stage is SwitchStage.SWITCHING:
                await self._ask(cluster, after)  # clients are held already, and the record can wait
            elif leader is not None and not await self._withdraw(cluster.id):
                self._look_again(cluster.id, LEAST_SECONDS, changes)
                return
            await self._write(cluster, step)
            return
        self._look_again(cluster.id, max(LEAST_SECONDS, switches.wakes_after(switch) - waited), changes)

    async def _restart(self, stored: Stored[Cluster], leader: str | None, changes: Changes) -> None:
        """Lead a rolling restart on, once the version of each host reads what the record says then."""
        cluster, hosts = stored.value, self._store.seen_hosts()
        look = Look(stored.revision, leader, self._store.reports(cluster.id), hosts.alive)
        step = rolling.step(cluster, look, hosts.now)
        if step is not None and record_formats.are_read(self._store.known_hosts(), record_formats.WITH_NODES):
            await self._write(cluster, step)
        elif rolling.is_wanted(cluster, look):
            self._look_again(cluster.id, RESTART_SECONDS, changes)

    async def _may(self, cluster: Cluster, switch: Switchover, step: switches.Step) -> bool:
        """Return whether clients may be held: Patroni would refuse a node that it takes for one that lags."""
        after = step.cluster.switchover
        if (
            after is None
            or after.stage is not SwitchStage.HOLDING
            or not switches.waits_for_standbys(switch, self._store.reports(cluster.id))
        ):
            return True
        return await self._store.failover_requests.takes(cluster.id, switch.target)

    async def _ask(self, cluster: Cluster, switch: Switchover) -> bool:
        """Ask Patroni for an attempt, once; return False when it has refused it.

        A restart in place is asked for on the node's own host.
        """
        if switch.in_place:
            return True
        requests = self._store.failover_requests
        if self._asked.get(cluster.id) == switch.attempt:
            return not await requests.is_refused(cluster.id, switch.source)
        self._withdrawn.discard(cluster.id)
        if await requests.ask(cluster.id, switch.source, switch.target, self._election.condition()):
            self._asked[cluster.id] = switch.attempt
        return True

    async def _withdraw(self, id: UUID) -> bool:
        """Take back what Patroni was asked for before; return False while it may be carrying that out."""
        if id not in self._withdrawn:
            if not await self._store.failover_requests.withdraw(id, self._election.condition()):
                return False
            self._withdrawn.add(id)
        return True

    async def _write(self, cluster: Cluster, step: switches.Step) -> None:
        await step_writing.write(self._store, self._election, cluster, step.cluster, step.reason, step.event)

    def _waited(self, id: UUID, switch: Switchover) -> float:
        key = (switch.attempt, switch.stage)
        if self._stages.get(id, (None, 0.0))[0] != key:
            self._stages[id] = key, time.monotonic()
        return time.monotonic() - self._stages[id][1]

    def _led_since(self, id: UUID, leader: str | None) -> tuple[float, float | None]:
        """Return since when a node takes writes, and for how many seconds none did before, if it is known."""
        now, known, began = time.monotonic(), self._led.get(id), self._leaderless.get(id)
        if leader is None:
            self._led.pop(id, None)
            return now, None
        if known is None or known[0] != leader:
            known = self._led[id] = leader, now, None if began is None else now - began
        return known[1:]

    def _held(self, cluster: Cluster, leader: str | None) -> float | None:
        """Return for how long clients of its pools were held for a switch, None as long as they may be."""
        if leader is None:
            return None
        alive = self._store.seen_hosts().alive
        return switches.held(cluster, leader, self._store.reports(cluster.id), alive)

    def _reason(self, cluster: Cluster, leader: str | None, *, is_silent: bool) -> str:
        """Return why another node takes writes; "" while that is not known."""
        switch = cluster.switchover
        if switch is not None and leader == switch.target:
            return switch.reason or ASKED
        former = next((node for node in cluster.nodes if node.name == cluster.primary), None)
        if former is None:
            return "it is not there any more"
        host = self._store.host(former.host)
        place = former.host if host is None else host.name
        if former.host not in self._store.presences():
            return f"the host {place} does not answer"
        if is_silent:
            return f"{former.name} on the host {place} did not answer any more"
        seen = self._store.status(cluster.id, former.name)
        if seen is not None and seen.stopped:
            return f"{', '.join(seen.stopped)} of {former.name} has ended"
        return ""

    def _look_again(self, id: UUID, seconds: float, changes: Changes) -> None:
        timer = self._timers.pop(id, None)
        if timer is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[id] = loop.call_later(seconds, lambda: changes.notify({id}))
