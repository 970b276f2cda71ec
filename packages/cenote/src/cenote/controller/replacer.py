"""Carries out the replacement of nodes on drained hosts, of clusters with several.

``replacements`` decides; each write is conditional on the record that it rests on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from uuid import UUID

from msgspec.structs import replace

from cenote.controller import replacements, step_writing
from cenote.controller.election import Election
from cenote.controller.mover import TICK_SECONDS, UNFIT_SECONDS
from cenote.controller.replacements import Look, Step
from cenote.errors import CenoteError, Conflict, NotFound, Unavailable
from cenote.model.records import Cluster, Node
from cenote.model.topology import replacement, status_of
from cenote.rules import node_drains, record_formats
from cenote.rules.move_progress import Hosts
from cenote.rules.scheduling import Overcommit
from cenote.store import PortTaken, Store
from cenote.store.candidates import candidates

log = logging.getLogger(__name__)


class Replacer:
    """With ``distinct_hosts`` no two nodes of any cluster get to share a host."""

    def __init__(
        self, store: Store, election: Election, overcommit: Overcommit, *, distinct_hosts: bool
    ) -> None:
        self._store, self._election = store, election
        self._overcommit, self._distinct_hosts = overcommit, distinct_hosts
        self._unfit: dict[str, float] = {}  # hosts that get no node, until when (monotonic)
        self._refused_ports: dict[str, set[int]] = {}
        self._hindrances: dict[UUID, str] = {}  # as they were logged

    async def run(self) -> None:
        """Run until cancelled."""
        is_under_way = True  # as long as nobody has looked
        while True:
            if not self._election.is_elected:
                await self._election.elected.wait()
                is_under_way = True
            hosts = self._store.seen_hosts()
            if hosts.drained or is_under_way:
                is_under_way = await self._look_at_all(hosts)
            else:
                for known in (self._unfit, self._refused_ports, self._hindrances):
                    known.clear()
            await asyncio.sleep(TICK_SECONDS)

    async def _look_at_all(self, hosts: Hosts) -> bool:
        """Lead on what is under way and begin what may begin; return whether anything was under way."""
        living = sorted(self._store.living_clusters(), key=lambda one: (one.created_at, one.id))
        busy: set[str] = set()  # hosts that a node leaves already
        for cluster in living:
            if replacements.is_busy(cluster):
                busy |= _hosts_left(cluster)
                await self._guarded(cluster, self._go_on(cluster, hosts))
        for cluster in living:
            node = node_drains.to_be_replaced(cluster, self._store.leader(cluster), hosts.drained)
            if node is None or replacements.is_busy(cluster) or node.host in busy:
                continue
            if await self._guarded(cluster, self._begin(cluster, node, hosts)):
                busy.add(node.host)
        return bool(busy)

    async def _guarded(self, cluster: Cluster, work: Awaitable[None]) -> bool:
        """Return whether the work was done; what hinders it is logged once."""
        try:
            await work
        except PortTaken as error:
            self._refused_ports.setdefault(error.host, set()).update(error.ports)
        except (NotFound, Unavailable, Conflict) as error:
            log.debug("cluster %s: its node is replaced later: %s", cluster.name, error)
        except CenoteError as error:
            self._tell(cluster, str(error))
        except Exception:  # one cluster's record must not keep the others on the host
            log.exception("cluster %s: a defect in Cenote", cluster.name)
        else:
            return True
        return False

    def _tell(self, cluster: Cluster, reason: str) -> None:
        if self._hindrances.get(cluster.id) != reason:
            self._hindrances[cluster.id] = reason
            log.warning("cluster %s cannot leave its drained host yet: %s", cluster.name, reason)

    def _look(self, cluster: Cluster, hosts: Hosts) -> Look:
        return Look(self._store.leader(cluster), self._store.reports(cluster.id), hosts)

    async def _go_on(self, cluster: Cluster, hosts: Hosts) -> None:
        step = replacements.step(cluster, self._look(cluster, hosts))
        if step is None:
            return
        if step.unfit:
            self._unfit[step.unfit] = time.monotonic() + UNFIT_SECONDS
        await self._write(cluster, step)

    async def _begin(self, cluster: Cluster, node: Node, hosts: Hosts) -> None:
        look = self._look(cluster, hosts)
        record_formats.check_readers(self._store.known_hosts(), record_formats.WITH_NODES)
        status = status_of(cluster, look.reports, look.leader)
        node_drains.check(cluster, node, look.leader, look.reports, status)
        now = time.monotonic()
        placed = node_drains.target(
            replace(cluster, distinct_hosts=cluster.distinct_hosts or self._distinct_hosts),
            node,
            candidates(self._store, self._refused_ports),
            self._overcommit,
            {host for host, until in self._unfit.items() if now < until},
        )
        await self._write(cluster, replacements.begun(cluster, look, node, placed))

    async def _write(self, cluster: Cluster, step: Step) -> None:
        await step_writing.write(self._store, self._election, cluster, step.cluster, step.reason, step.event)


def _hosts_left(cluster: Cluster) -> set[str]:
    """Return the host that a node of a cluster is about to leave."""
    found, switch = replacement(cluster), cluster.switchover
    name = found[0].name if found is not None else "" if switch is None else switch.source
    return {node.host for node in cluster.nodes if node.name == name}
