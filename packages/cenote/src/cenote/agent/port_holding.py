"""The ports of this host that are claimed for clusters whose servers do not listen yet.

The API asks for them before it writes a cluster's record.  A claim is this process's and ends with it; the
next one claims again what the records name.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from uuid import UUID

from cenote.errors import Invalid, Unavailable
from cenote.host import port_claims
from cenote.host.port_claims import Claim
from cenote.model.records import Cluster, Node
from cenote.store.encoding import NewerFormat
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)

RECORD_SECONDS = 60.0  # until the record of a cluster that ports were claimed for is there
MAX_CLAIMS = 1_000  # of clusters that are in no record


class PortHolding:
    """The claims of one agent, by cluster."""

    def __init__(self, store: HostStore, addresses: Iterable[str]) -> None:
        self._store, self._addresses = store, tuple(addresses)
        self._held: dict[UUID, list[Claim]] = {}
        self._asked: dict[UUID, float] = {}  # when, in monotonic time, of those that no record names

    async def claim(self, cluster_id: UUID, ports: Iterable[int]) -> frozenset[int]:
        """Claim ports for a cluster, all or none; return those that are taken.

        What the cluster had before is given up.  Unavailable when no descriptor is left.
        """
        if cluster_id not in self._asked and len(self._asked) >= MAX_CLAIMS:
            raise Invalid("This host has claimed ports for too many clusters that are in no record.")
        self.release(cluster_id)
        found = port_claims.claim(self._addresses, ports)
        if isinstance(found, frozenset):
            return found
        self._held[cluster_id] = [found]
        self._asked[cluster_id] = time.monotonic()
        return frozenset()

    def release(self, cluster_id: UUID) -> None:
        self._asked.pop(cluster_id, None)
        for one in self._held.pop(cluster_id, ()):
            one.close()

    async def run(self) -> None:
        """Hold the ports of each cluster until it was online once, after an undelete again, or is deleted."""
        expiring = asyncio.create_task(self._expire(), name="expiring claims")
        try:
            with self._store.changes(reports=True) as changes:
                async for id in changes:
                    self._look_at(id)
        finally:
            expiring.cancel()
            for id in list(self._held):
                self.release(id)

    async def _expire(self) -> None:
        """Give up what no record came for: the API has died, or changed its mind."""
        while True:
            await asyncio.sleep(RECORD_SECONDS / 10)
            oldest = time.monotonic() - RECORD_SECONDS
            for id in [id for id, at in self._asked.items() if at < oldest]:
                log.info("cluster %s: its ports are given up, since it came into no record", id)
                self.release(id)

    def _look_at(self, id: UUID) -> None:
        try:
            stored = self._store.cluster(id)
        except NewerFormat:
            return
        if id in self._asked and (
            stored is None or stored.value.deleted_at is not None or not self._nodes_of(stored.value)
        ):
            return  # its record will name this host, or is about to be undeleted
        self._asked.pop(id, None)
        if stored is None or not self._is_coming(stored.value):
            self.release(id)
        elif id not in self._held:  # its claims were a former process's
            for port in sorted(port for node in self._nodes_of(stored.value) for port in node.ports):
                # What listens already cannot be claimed, and need not be.
                try:
                    found = port_claims.claim(self._addresses, [port])
                except Unavailable:
                    continue
                if isinstance(found, Claim):
                    self._held.setdefault(id, []).append(found)

    def _is_coming(self, cluster: Cluster) -> bool:
        if cluster.deleted_at is not None:
            return False
        if cluster.undeletion is not None:
            return True
        statuses = [self._store.status(cluster.id, node.name) for node in self._nodes_of(cluster)]
        return any(status is None or not status.reached for status in statuses)

    def _nodes_of(self, cluster: Cluster) -> list[Node]:
        return [node for node in cluster.nodes if node.host == self._store.host_id]
