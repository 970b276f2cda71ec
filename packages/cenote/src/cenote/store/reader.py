"""Queries: answered from the watch cache, without I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from cenote.model.records import Cluster, Event, Host, MetricsLogin, NodeStatus, Token
from cenote.store.cache import WatchCache
from cenote.store.tables import Stored, Tables

T = TypeVar("T")


class Reader:
    """All queries; ``Store`` adds the changes."""

    _tables: Tables
    _cache: WatchCache
    _changed: asyncio.Event  # replaced after each change

    @property
    def connected(self) -> bool:
        """Whether the watch is up; while it is not, reads are served from the last known state."""
        return self._cache.connected

    @property
    def revision(self) -> int:
        """The revision that reads are served from."""
        return self._cache.revision

    def cluster(self, id: UUID) -> Stored[Cluster] | None:
        """A cluster, also one with ``deleted_at``."""
        return self._tables.clusters.get(id)

    def cluster_by_name(self, name: str) -> Stored[Cluster] | None:
        """The cluster that holds this name; never one with ``deleted_at``."""
        id = self._tables.names.get(name)
        return None if id is None else self._tables.clusters.get(id)

    def clusters(self, *, deleted: bool = True, tag: str | None = None) -> list[Stored[Cluster]]:
        """All clusters; ``deleted=False`` leaves out those with ``deleted_at``, ``tag`` those without it."""
        return [
            stored
            for stored in self._tables.clusters.values()
            if (deleted or stored.value.deleted_at is None) and (tag is None or tag in stored.value.tags)
        ]

    def living_cluster(self, id: UUID) -> Cluster | None:
        stored = self._tables.clusters.get(id)
        return None if stored is None or stored.value.deleted_at is not None else stored.value

    def living_clusters(self) -> list[Cluster]:
        return [stored.value for stored in self.clusters(deleted=False)]

    def status(self, cluster_id: UUID, node_name: str) -> NodeStatus | None:
        return self._tables.statuses.get((cluster_id, node_name))

    def hosts(self) -> list[Host]:
        """The hosts that are alive, by name."""
        return [host for _, host in sorted(self._tables.hosts.items())]

    def host(self, name: str) -> Host | None:
        return self._tables.hosts.get(name)

    def token(self, sha256_hex: str) -> Token | None:
        return self._tables.tokens.get(sha256_hex)

    def tokens(self) -> list[Token]:
        """All tokens, the oldest first."""
        return sorted(self._tables.tokens.values(), key=lambda token: token.created_at)

    def metrics_login(self) -> MetricsLogin | None:
        return self._tables.metrics_login

    def events(self, cluster_id: UUID | None = None) -> list[Event]:
        """Changes, the newest first; of one cluster, or all."""
        return [
            event
            for _, event in sorted(self._tables.events.items(), reverse=True)
            if cluster_id is None or event.cluster_id == cluster_id
        ]

    def audit(self, cluster_id: UUID | None = None) -> list[Event]:
        """Changes and rejected requests, the newest first; of one cluster, or all."""
        found = {**self._tables.events, **self._tables.refusals}
        return [
            event
            for _, event in sorted(found.items(), reverse=True)
            if cluster_id is None or event.cluster_id == cluster_id
        ]

    def ports(self, host: str) -> set[int]:
        """The ports of a host that clusters have claimed."""
        return set(self._tables.ports.get(host, ()))

    async def wait(self, condition: Callable[[], T | None], seconds: float) -> T | None:
        """Return what ``condition`` returns as soon as that is not None; None after ``seconds``.

        It is evaluated at once and after every change of a record; it must not wait itself.
        """
        try:
            async with asyncio.timeout(seconds):
                while (answer := condition()) is None:
                    await self._changed.wait()
                return answer
        except TimeoutError:
            return None
