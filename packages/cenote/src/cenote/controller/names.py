"""Keeps the names of clusters in the operator's name server: NAME.DOMAIN leads to the host that takes writes.

A cluster is looked at when its record or a host's address has changed, and all of them at times, since others
write to a name server, too.  What fails is told in words and tried again, ever more rarely; nothing else
waits for it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from cenote.controller.election import Election
from cenote.errors import CenoteError
from cenote.model.fleet_records import NameInDns, NameServerState
from cenote.model.records import Cluster
from cenote.model.timing import Timing
from cenote.rules import host_names
from cenote.store import Changes, Store

if TYPE_CHECKING:  # what it needs is loaded only where there is a name server
    from cenote.controller.name_server import NameServer

log = logging.getLogger(__name__)

NO_ADDRESS = "its host has no address for others; start that with --public-host, or with --address"
WITHOUT_SERVER = "the host that works on names was started without --dns-server; start all hosts with it"


class NameServerFailed(CenoteError):
    """The name server does not do what it is asked, for any name; trying again may help."""


class NameRefused(CenoteError):
    """This name cannot be set; the message says why and what to do."""


class Names:
    def __init__(
        self, store: Store, election: Election, domain: str, server: NameServer | None, timing: Timing
    ) -> None:
        """Without ``server`` it only says so, where other hosts were started with one."""
        self._store, self._known = store, store.names_in_dns
        self._election, self._timing = election, timing
        self._domain, self._server = domain, server
        self._compared: set[str] = set()  # names that the name server has answered as wanted
        self._logged: dict[str, str] = {}  # the last problem of each name
        self._timers: dict[UUID, asyncio.TimerHandle] = {}  # when clusters are looked at again
        self._pause = timing.names_retry_first

    async def run(self) -> None:
        """Run until cancelled; works while this process is the controller."""
        if self._server is None:
            return await self._say_that_there_is_none()
        while True:
            await self._election.elected.wait()
            self._compared.clear()
            with self._store.changes() as changes:
                changes.notify(self._known.clusters())
                losing = asyncio.create_task(self._close_when_lost(changes), name="end of the election")
                comparing = asyncio.create_task(self._compare_again(changes), name="comparing names")
                try:
                    async for id in changes:
                        await self._work_on(id, self._server, changes)
                finally:
                    losing.cancel()
                    comparing.cancel()
            # It may have been lost and won again while the name server was waited for.
            if self._election.is_elected and not losing.done():
                return None  # the store is closed

    async def _say_that_there_is_none(self) -> None:
        while True:
            await self._election.elected.wait()
            if any(one.server for one in self._known.domains()):
                await self._note_state(WITHOUT_SERVER)
            await asyncio.sleep(self._timing.names_retry_max)

    async def _close_when_lost(self, changes: Changes) -> None:
        await self._election.lost.wait()
        changes.close()

    async def _compare_again(self, changes: Changes) -> None:
        while True:
            await asyncio.sleep(self._timing.names_interval)
            self._compared.clear()
            self._logged.clear()
            changes.notify([cluster.id for cluster in self._store.living_clusters()])
            changes.notify(self._known.clusters())

    async def _work_on(self, id: UUID, server: NameServer, changes: Changes) -> None:
        """Bring the names of a cluster about; wait while the name server does not do what it is asked."""
        try:
            if await self._bring_about(id, server):
                self._pause = self._timing.names_retry_first
                await self._note_state("")
            if any(known.problem for known in self._known.of(id).values()):
                self._look_again(id, self._timing.names_retry_max, changes)
        except NameServerFailed as error:
            await self._note_state(error.message)
            await asyncio.sleep(self._pause)
            self._pause = min(self._timing.names_retry_max, 2 * self._pause)
            changes.notify({id})  # after all others, in case that it is this cluster's fault
        except CenoteError as error:  # etcd is away, or another process is the controller
            log.debug("the names of cluster %s are set later: %s", id, error)
            self._look_again(id, self._timing.names_retry_first, changes)
        except Exception:  # one name must not end the work on all others
            log.exception("the names of cluster %s: a defect in Cenote", id)

    def _look_again(self, id: UUID, seconds: float, changes: Changes) -> None:
        """Have a cluster looked at again: once, however often it is looked at until then."""

        def look() -> None:
            del self._timers[id]
            changes.notify({id})

        if id in self._timers:
            self._timers[id].cancel()
        self._timers[id] = asyncio.get_running_loop().call_later(seconds, look)

    async def _bring_about(self, id: UUID, server: NameServer) -> bool:
        """Return whether the name server was asked, and has answered."""
        cluster, asked = self._store.living_cluster(id), False
        wanted = (
            {}
            if cluster is None
            else host_names.wanted_in_dns(
                cluster, self._store.hosts_by_id(), self._domain, self._store.leader(cluster)
            )
        )
        for name in sorted(self._known.of(id).keys() - wanted.keys()):
            asked = True
            await self._remove(name, server)
        for name, target in wanted.items():
            assert cluster is not None
            asked = await self._set(cluster, name, target, server) or asked
        return asked

    async def _remove(self, name: str, server: NameServer) -> None:
        self._compared.discard(name)
        if server.has(name):
            try:
                await server.remove(name, functools.partial(self._claim, name, None))
            except NameRefused as error:
                await self._note_kept(name, error.message)
                return
        else:
            log.warning("%s stays in its name server, which is not that of --dns-zone any more", name)
        await self._known.forget(name, self._election.condition())

    async def _set(self, cluster: Cluster, name: str, target: str, server: NameServer) -> bool:
        known = self._known.get(name)
        if not target:
            await self._note(name, cluster, NameInDns(cluster_id=cluster.id, problem=NO_ADDRESS))
            return False
        wanted = NameInDns(cluster_id=cluster.id, target=target)
        if known == wanted and name in self._compared:
            return False
        try:
            if known != wanted or await server.targets(name) != {target}:
                await server.set(name, target, functools.partial(self._claim, name, cluster))
        except NameRefused as error:
            await self._note(name, cluster, NameInDns(cluster_id=cluster.id, problem=error.message))
        else:
            await self._note(name, cluster, wanted)
            self._compared.add(name)
        return True

    async def _claim(self, name: str, cluster: Cluster | None) -> None:
        """Note that a name is about to be changed, as only the controller can."""
        known = self._known.get(name)
        if known is None:
            assert cluster is not None
            known = NameInDns(cluster_id=cluster.id)
        owner = known.cluster_id if cluster is None else cluster.id
        changing = msgspec.structs.replace(known, cluster_id=owner, target="")
        await self._known.put(name, changing, self._election.condition())

    async def _note(self, name: str, cluster: Cluster, now: NameInDns) -> None:
        if now.problem:
            self._log(name, f"cluster {cluster.name}: {name}: {now.problem}")
        if self._known.get(name) != now:
            await self._known.put(name, now, self._election.condition())

    async def _note_kept(self, name: str, problem: str) -> None:
        """Note why a name that is to be removed is still there; it is tried again."""
        known = self._known.get(name)
        if known is None:
            return
        self._log(name, f"{name} cannot be removed: {problem}")
        noted = msgspec.structs.replace(known, target="", problem=problem)
        if noted != known:
            await self._known.put(name, noted, self._election.condition())

    def _log(self, name: str, words: str) -> None:
        if self._logged.get(name) != words:
            log.warning("%s", words)
            self._logged[name] = words

    async def _note_state(self, problem: str) -> None:
        if problem == self._known.state.problem:
            return
        if problem:
            log.warning("the names of clusters cannot be set: %s; trying again", problem)
        else:
            log.warning("the name server takes the names of clusters again")
        state = NameServerState(problem=problem, since=datetime.now(UTC).replace(microsecond=0))
        try:
            await self._known.put_state(state, self._election.condition())
        except CenoteError as error:
            log.debug("it is noted later: %s", error)
