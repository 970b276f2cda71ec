"""Queries: answered from the watch cache, without I/O."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from cenote.model import topology
from cenote.model.failover import Agreed
from cenote.model.fleet_records import (
    AdmittedHost,
    CertificateRequest,
    FleetAuthority,
    Host,
    HostDrain,
    Presence,
    RemovedHost,
)
from cenote.model.records import Cluster, MetricsLogin, Node, Token, Tombstone
from cenote.model.status_records import NodeStatus
from cenote.model.topology import Absence
from cenote.rules import host_states, replicas
from cenote.rules.host_states import Gone, HostState
from cenote.rules.move_progress import Hosts
from cenote.store.agreements import Agreements
from cenote.store.cache import WatchCache
from cenote.store.keys import Keys
from cenote.store.subscription import Changes
from cenote.store.tables import Stored, Tables

T = TypeVar("T")


class Reader:
    """All queries; ``Store`` adds the changes.

    A record that a newer version wrote raises NewerFormat where it is asked for, and where a list would
    leave it out.
    """

    _keys: Keys
    _tables: Tables
    _subscribers: set[Changes]
    _cache: WatchCache
    _agreements: Agreements
    _changed: asyncio.Event  # replaced after each change
    _opened: Gone  # of a host that was away before this process looked

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
        if self._tables.newer:
            self._tables.check_readable(self._keys.cluster(id))
        stored = self._tables.clusters.get(id)
        return None if stored is None else self._as_used(stored)

    def _as_used(self, stored: Stored[Cluster]) -> Stored[Cluster]:
        """Return a record with what a replica has of its source; that of any other cluster as it is."""
        if stored.value.replica_of is None:
            return stored
        source = self._tables.clusters.get(stored.value.replica_of)
        if source is None:
            return stored
        return Stored(replicas.as_used(stored.value, source.value), stored.revision)

    def replicas(self, source_id: UUID) -> list[Stored[Cluster]]:
        """The read replicas of a cluster, the oldest first; never one with ``deleted_at``."""
        ids = self._tables.replicas.get(source_id)
        found = [stored for id in ids or () if (stored := self.cluster(id)) is not None]
        living = [stored for stored in found if stored.value.deleted_at is None]
        return sorted(living, key=lambda stored: (stored.value.created_at, stored.value.id))

    def cluster_by_name(self, name: str) -> Stored[Cluster] | None:
        """The cluster that holds this name; never one with ``deleted_at``."""
        id = self._tables.names.get(name)
        return None if id is None else self.cluster(id)

    def clusters(
        self, *, deleted: bool = True, tag: str | None = None, replicas: bool = True
    ) -> list[Stored[Cluster]]:
        """All clusters; ``deleted=False`` leaves out those with ``deleted_at``, ``tag`` those without it.

        ``replicas=False`` leaves out those that follow another one.
        """
        self._tables.check_all_readable(self._keys.clusters)
        return [
            self._as_used(stored)
            for stored in self._tables.clusters.values()
            if (deleted or stored.value.deleted_at is None)
            and (tag is None or tag in stored.value.tags)
            and (replicas or stored.value.replica_of is None)
        ]

    def cluster_records(self) -> int:
        """Return a number that changes when the record of a cluster does, but for those of a newer format."""
        return hash(frozenset((id, stored.revision) for id, stored in self._tables.clusters.items()))

    def living_cluster(self, id: UUID) -> Cluster | None:
        stored = self._tables.clusters.get(id)
        is_there = stored is not None and stored.value.deleted_at is None
        return self._as_used(stored).value if stored is not None and is_there else None

    def living_clusters(self) -> list[Cluster]:
        """The clusters that are not deleted, without those of a newer format: for what works on each."""
        found = self._tables.clusters.values()
        return [self._as_used(stored).value for stored in found if stored.value.deleted_at is None]

    def tombstone(self, id: UUID) -> Tombstone | None:
        """What is left of a cluster that was deleted and removed."""
        return self._tables.deleted.get(id)

    def status(self, cluster_id: UUID, node_name: str) -> NodeStatus | None:
        """The last report on a node, by the host that it is on."""
        stored = self._tables.clusters.get(cluster_id)
        if stored is None:
            return None
        nodes = (*stored.value.nodes, *stored.value.left)
        host = next((node.host for node in nodes if node.name == node_name), "")
        return self._tables.reports.get((host, cluster_id, node_name))

    def reports(self, cluster_id: UUID) -> dict[str, NodeStatus]:
        """The last reports on a cluster's nodes, by name; also on those that were moved away."""
        stored = self._tables.clusters.get(cluster_id)
        nodes = () if stored is None else (*stored.value.nodes, *stored.value.left)
        keys = ((node.name, (node.host, cluster_id, node.name)) for node in nodes)
        return {name: self._tables.reports[key] for name, key in keys if key in self._tables.reports}

    def is_silent(self, cluster_id: UUID, node_name: str) -> bool:
        """Return whether the failover agent of a node was seen to fall silent."""
        return self._agreements.is_silent(cluster_id, node_name)

    def leader(self, cluster: Cluster) -> str | None:
        """The node of several that the failover agent names.

        Before it has taken over a cluster of one node that gets others, that is the node that was there.
        """
        if not topology.has_standbys(cluster):
            return None
        if alone := topology.upgraded_alone(cluster):
            return alone
        if self._agreements.of(cluster.id).identifier:
            return self._leader(cluster.id)
        if cluster.major_upgrade is not None and cluster.major_upgrade.node:  # Patroni is about to run it
            return cluster.major_upgrade.node
        former = [node.name for node in cluster.nodes if node.added_at is None]
        first = cluster.nodes[0].name
        if cluster.primary == first:  # it had other nodes before, of which it may have been one more
            former = [first]
        return self._leader(cluster.id) or (former[0] if len(former) == 1 else None)

    def _leader(self, cluster_id: UUID) -> str | None:
        return self._agreements.of(cluster_id).leader

    def agreed(self, cluster_id: UUID) -> Agreed:
        """What stands in the store for Patroni of a cluster; the last that was seen of it."""
        return self._agreements.of(cluster_id)

    def _on_agreement(self, ids: Iterable[UUID]) -> None:
        """Have all who wait look again: another node leads, or something as rare."""
        self._changed.set()
        self._changed = asyncio.Event()
        self.notify(ids)

    def shown_node(self, cluster: Cluster) -> Node:
        """The node that stands for a cluster in answers: its writer; while that is not known, the first."""
        return topology.writer_or_first(cluster, self.leader(cluster))

    def hosts(self) -> list[Host]:
        """The hosts that are alive, by name."""
        living = (host for id, host in self._tables.hosts.items() if id in self._tables.presences)
        return sorted(living, key=lambda host: (host.name, host.id))

    def known_hosts(self) -> list[Host]:
        """All hosts, also those that are away, by name."""
        return sorted(self._tables.hosts.values(), key=lambda host: (host.name, host.id))

    def unstarted_hosts(self) -> dict[str, AdmittedHost]:
        """The hosts that have joined and have never said anything of themselves, by id."""
        tables = self._tables
        others = {id: host for id, host in tables.admitted.items() if id not in tables.hosts}
        return {id: host for id, host in others.items() if not tables.is_unknown(self._keys.host(id))}

    def host(self, id: str) -> Host | None:
        """A host, also one that is away."""
        return self._tables.hosts.get(id)

    def hosts_by_id(self) -> Mapping[str, Host]:
        """The same for all of them, by id; not to be changed."""
        return self._tables.hosts

    def fleet_authority(self) -> FleetAuthority | None:
        """The CA of the hosts' certificates; None before the first host with an address has started."""
        return self._tables.fleet_authority

    def full_version(self, cluster: Cluster) -> str | None:
        """The version of PostgreSQL with its minor release, which the cluster's host may have while away."""
        host = self.host(self.shown_node(cluster).host)
        return None if host is None else host.versions.get(cluster.version)

    def presences(self) -> dict[str, Presence]:
        """The agents that are alive, by the ids of their hosts."""
        return dict(self._tables.presences)

    def data_missing(self, cluster: Cluster, node: Node) -> bool:
        """Whether the living agent of a node's host says that the node's data directory is not there."""
        report = self._tables.reports.get((node.host, cluster.id, node.name))
        presence = self._tables.presences.get(node.host)
        is_of_now = report is not None and presence is not None and report.run == presence.run
        return is_of_now and report is not None and report.data_missing

    def gone(self) -> dict[str, Gone]:
        """Since when hosts are not there, by id; those that this process never saw, since it looks."""
        return host_states.gone(self._tables.hosts, self._tables.presences, self._tables.gone, self._opened)

    def host_state(self, id: str) -> HostState:
        """Whether a host is up, away for a short time, or down; one that is not known is down."""
        if id not in self._tables.hosts:
            return HostState.DOWN
        return host_states.state(self.gone().get(id), time.monotonic())

    def absences(self, own: str = "") -> dict[str, Absence]:
        """The hosts that are not there, by id, as ``topology`` takes them.

        The host ``own`` is the caller's: of that only the agent can be away.
        """
        return host_states.absences(self._tables.hosts, self.gone(), time.monotonic(), own)

    def drains(self) -> dict[str, HostDrain]:
        """The hosts that are drained, by id."""
        return dict(self._tables.drains)

    def seen_hosts(self) -> Hosts:
        """The hosts as those see them who move clusters between them."""
        tables, now = self._tables, time.monotonic()
        return Hosts(
            known=tables.hosts,
            alive=tables.presences.keys(),
            away={id: now - one.at for id, one in self.gone().items()},
            drained=tables.drains.keys(),
            removed=tables.removed.keys(),
            now=datetime.now(UTC),
        )

    def removed_host(self, id: str) -> RemovedHost | None:
        """What is left of a host that was removed."""
        return self._tables.removed.get(id)

    def certificate_request(self, host_id: str, cluster_id: UUID) -> Stored[CertificateRequest] | None:
        """The request of a host for a cluster's servers that was not answered yet."""
        return self._tables.requests.get((host_id, cluster_id))

    def token(self, sha256_hex: str) -> Token | None:
        if self._tables.newer:
            self._tables.check_readable(self._keys.token(sha256_hex))
        return self._tables.tokens.get(sha256_hex)

    def tokens(self) -> list[Token]:
        """All tokens, the oldest first."""
        self._tables.check_all_readable(self._keys.tokens)
        return sorted(self._tables.tokens.values(), key=lambda token: token.created_at)

    def metrics_login(self) -> MetricsLogin | None:
        self._tables.check_readable(self._keys.metrics_login)
        return self._tables.metrics_login

    def ports(self, host_id: str) -> set[int]:
        """The ports of a host that clusters have claimed."""
        return set(self._tables.ports.get(host_id, ()))

    def changes(self, *, reports: bool = False) -> Changes:
        """Subscribe to changed clusters, starting with all of them; with ``reports`` to new reports, too."""
        known = {*self._tables.clusters, *filter(None, map(self._tables.cluster_of, self._tables.newer))}
        changes = Changes(known, self._subscribers.discard, reports=reports)
        self._subscribers.add(changes)
        return changes

    def notify(self, ids: Iterable[UUID]) -> None:
        """Have all subscribers look at these clusters again."""
        for subscriber in self._subscribers:
            subscriber.notify(ids)

    def _begin(self) -> None:
        self._changed = asyncio.Event()
        self._subscribers = set()
        self._opened = Gone(since=None, at=time.monotonic())

    def _end(self) -> None:
        for subscriber in list(self._subscribers):
            subscriber.close()

    def _notify(self, keys: set[str]) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        if self._subscribers:
            changed = {id for key in keys if (id := self._tables.cluster_of(key)) is not None}
            clusters = changed.union(*map(self._related, changed))
            reported = {id for key in keys if (id := self._tables.reported_cluster(key)) is not None}
            for subscriber in self._subscribers:
                subscriber.notify(clusters | reported if subscriber.reports else clusters)

    def _related(self, id: UUID) -> set[UUID]:
        """Return the source of a replica, or the replicas of a source: what changes with it."""
        stored = self._tables.clusters.get(id)
        source = None if stored is None else stored.value.replica_of
        return self._tables.replicas.get(id, set()) | ({source} if source is not None else set())

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
