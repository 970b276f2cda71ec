"""The service with its dependencies, which all operations work on."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from cenote.api import silence
from cenote.api.auth import UnknownTokens
from cenote.api.limits import MINUTE
from cenote.errors import NotFound, NotInForce, Unavailable
from cenote.logs.destinations import Network
from cenote.model import topology
from cenote.model.by_sql import BySql
from cenote.model.fleet_records import Host, HostRole
from cenote.model.parts import PartName
from cenote.model.records import Cluster, ClusterStatus, Node, RemovalKind
from cenote.model.status_records import NodeStatus
from cenote.model.timing import DEFAULT, Timing
from cenote.rules import cluster_backups, host_names, in_force, removals, sql_changes
from cenote.rules.in_force import Progress
from cenote.security.basic_auth import BasicAuth
from cenote.security.certificates import Validity
from cenote.security.sealing import Rings, Sealer
from cenote.stats.advice import Advice
from cenote.stats.counters import Requests
from cenote.stats.observer import NO_ARCHIVES, NO_HOST_KEYS, Archives, HostKeys, Observer
from cenote.store import Store, Stored


class Ports(Protocol):
    """Claims on the ports of hosts for new clusters, beyond those in the store: see ``host.port_claims``."""

    async def claim(self, cluster_id: UUID, host_id: str, ports: Iterable[int]) -> frozenset[int]:
        """Claim ports for a cluster, all or none; return those that other programs have.

        Unavailable if the host does not answer.
        """
        ...

    async def release(self, cluster_id: UUID, host_id: str) -> None:
        """Give the claims up, if the host answers; else it does so by itself, after a while."""
        ...


class Unclaimed:
    """Claims nothing: an API that runs on no host."""

    async def claim(self, cluster_id: UUID, host_id: str, ports: Iterable[int]) -> frozenset[int]:
        return frozenset()

    async def release(self, cluster_id: UUID, host_id: str) -> None:
        pass


ANY = ""  # the scope of operations that any valid token may call
HOST_SECONDS = 3  # until a host may have announced itself
REPORT_SECONDS = 0.5  # until a report that was written is in the cache


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the API; a rate limit of 0 means no limit."""

    public_host: str = "localhost"  # of this API
    domain: str | None = None  # if set, the host name of a cluster is <name>.<domain>; else the hosts' one
    requests_per_hour: int = 5_000
    requests_per_minute: int = 250
    burst_seconds: float = MINUTE  # what a minute is in ``requests_per_minute``; tests have no minute
    wait_seconds: float = 5.0  # the longest that a change waits for the agent before it responds
    # The same for a new cluster and a resize, whose clients poll: doctl at once, and then after 10 s.
    online_wait_seconds: float = 1.5
    access_wait_seconds: float = 10.0  # the same for one that takes access away; clients give up after 15
    max_body_bytes: int = 1024 * 1024
    log_sink_allow: tuple[Network, ...] = ()  # otherwise forbidden networks that log sinks may use
    host_id: str = ""  # of the host that the API runs on
    memory_overcommit: float | None = None  # how often a host's memory may be promised; None: without limit
    distinct_hosts: bool = False  # the nodes of a new cluster share no host, unless it says otherwise
    undelete_days: int = 0  # for which a deleted cluster can be undeleted; 0: it is removed at once
    storage_overcommit: float | None = None  # the same for its storage
    fleet_place: tuple[str, int] | None = None  # address and port where other hosts ask to join


@dataclass(frozen=True, slots=True)
class CachedAdvice:
    """Advice on this version of a cluster; ``at`` is monotonic time, ``not_counted`` who did not answer."""

    at: float
    cluster: Cluster
    advice: tuple[Advice, ...]
    not_counted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Service:
    store: Store
    rings: Rings
    settings: Settings
    observer: Observer
    timing: Timing = DEFAULT
    certificate_validity: Callable[[], Validity | None] = lambda: None
    host_keys: HostKeys = NO_HOST_KEYS
    ports: Ports = field(default_factory=Unclaimed)
    archives: Archives = NO_ARCHIVES
    requests: Requests = field(default_factory=Requests)
    # The latest query of each cluster's PgBouncer for ``api/activity.py``, and when it began (monotonic).
    recent_pool_stats: dict[UUID, tuple[float, asyncio.Task[Any]]] = field(default_factory=dict)
    advice: dict[UUID, CachedAdvice] = field(default_factory=dict)
    metrics_auth: BasicAuth = field(default_factory=BasicAuth)
    unknown_tokens: UnknownTokens = field(default_factory=UnknownTokens)
    streams: Counter[UUID] = field(default_factory=Counter)  # open event streams by token
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def sealer(self) -> Sealer:
        """Ring ``api``: all secrets but those of log sinks, which the agents open."""
        return self.rings.api

    @property
    def domain(self) -> str | None:
        """The domain in which clusters have names, if any."""
        return self.settings.domain or host_names.domain_of(self.store.names_in_dns.domains())

    def shown_nodes(self, cluster: Cluster) -> tuple[Node, ...]:
        """Return the nodes that can be asked, the writer first; of a cluster that moves, that one alone."""
        first = self.store.shown_node(cluster)
        if not topology.has_standbys(cluster):
            return (first,)
        return (first, *(node for node in cluster.nodes if node.name != first.name and not node.lost_at))

    def pooler_nodes(self, cluster: Cluster) -> tuple[Node, ...]:
        """Return a node of each host with a pooler of the cluster, the writer first."""
        found: dict[str, Node] = {}
        for node in self.shown_nodes(cluster):
            found.setdefault(node.host, node)
        return tuple(found.values())

    def host_of(self, cluster: Cluster, *, private: bool = False) -> str:
        """Return the host name that clients of a cluster connect to, also while that host is away."""
        domain = self.domain
        if domain is not None:
            public, inner = host_names.in_domain(cluster.name, domain)
            return inner if private else public
        return self.address_of(self.store.shown_node(cluster))

    def address_of(self, node: Node) -> str:
        """Return the address of a node's host, this API's where it is not known."""
        return host_names.address_of(node, self.store.hosts_by_id()) or self.settings.public_host

    def certificate_names(self, name: str, nodes: Collection[Node]) -> tuple[str, ...]:
        """Return the names of a new cluster's certificate; the controller keeps them up to date."""
        hosts = self.store.hosts_by_id()
        domains = host_names.domains_of(self.store.names_in_dns.domains(), self.settings.domain)
        return host_names.of_certificate(name, nodes, hosts, domains, standbys=len(nodes) > 1)

    def cluster(self, text: str) -> Stored[Cluster]:
        """Return the cluster with this id; NotFound for a malformed id and for a deleted cluster, too."""
        id = uuid_of(text)
        stored = None if id is None else self.store.cluster(id)
        if stored is None or stored.value.deleted_at is not None:
            raise NotFound
        return stored

    async def confirmed_cluster(self, text: str) -> Stored[Cluster]:
        """Return the cluster with this id; etcd is checked before raising NotFound."""
        try:
            return self.cluster(text)
        except NotFound:
            id = uuid_of(text)
            if id is None or not await self.store.confirm_cluster(id):
                raise
        return self.cluster(text)

    async def living_hosts(self) -> list[Host]:
        """Return the hosts that are up and run clusters, and wait for one after a start.

        Unavailable when none comes: without any, nothing is known of what can be offered.
        """

        def running() -> list[Host] | None:
            return [host for host in self.store.hosts() if HostRole.DATABASE in host.roles] or None

        found = await self.store.wait(running, self.settings.wait_seconds)
        if not found:
            raise Unavailable("No host has announced itself yet; try again in a few seconds.", HOST_SECONDS)
        return found

    def report(self, cluster: Cluster) -> NodeStatus | None:
        """Return the last report on the writer, with what other nodes know better of the backups."""
        writer = self.store.shown_node(cluster).name
        seen = self.store.status(cluster.id, writer)
        if seen is None or len(cluster.nodes) == 1:
            return seen
        of_nodes = {
            node.name: report
            for node in cluster.nodes
            if (report := self.store.status(cluster.id, node.name)) is not None
        }
        return msgspec.structs.replace(seen, backups=cluster_backups.of_writer(of_nodes, writer))

    def status(self, cluster: Cluster) -> ClusterStatus:
        reports = self.store.reports(cluster.id)
        return topology.status_of(cluster, reports, self.store.leader(cluster))

    def by_sql(self, cluster: Cluster) -> BySql:
        """Return what SQL has changed and made on the cluster's writer, as it was last seen."""
        return sql_changes.of(self.report(cluster))

    async def look_for(self, cluster: Cluster, kind: RemovalKind, name: str) -> None:
        """Have the agent look at the server for a user or database that SQL may just have made.

        What is known already is not looked for.  A host that does not answer does not fail the request, and
        one that is lost is not asked.
        """

        def is_known() -> bool | None:
            return sql_changes.is_known(cluster, kind, name, self.by_sql(cluster)) or None

        if is_known() or self.is_lost(cluster):
            return
        with contextlib.suppress(Unavailable):
            await self.observer.look_again(cluster.id, self.store.shown_node(cluster).name)
            await self.store.wait(is_known, REPORT_SECONDS)

    def topology(self, cluster: Cluster) -> topology.Topology:
        """Return the cluster as it is seen; no health is known while etcd does not answer.

        The host of this API is there, though its agent may not be: it is never taken for down.
        """
        presences = self.store.presences() if self.store.connected else None
        reports, absences = self.store.reports(cluster.id), self.store.absences(self.settings.host_id)
        leader = self.store.leader(cluster)
        return topology.topology(cluster, reports, presences, leader, absences=absences)

    def hindrance(self, cluster: Cluster, node: Node | None = None) -> NodeStatus | None:
        """Return the last report, which tells what a change waits for: the agent itself if that is away.

        ``node`` is the one that is meant, by default the writer.
        """
        node = node or self.store.shown_node(cluster)
        seen, now = self.store.status(cluster.id, node.name), self.topology(cluster)
        member = next((one for one in now.members if one.node.name == node.name), None)
        is_unknown = member is not None and member.health is topology.Health.UNKNOWN
        if seen is None or not (is_unknown or node.host not in self.store.presences()):
            return seen
        why = silence.of_host(self.store, node.host, self.began)
        why = why or ("" if member is None else member.reason) or now.reason
        return msgspec.structs.replace(seen, reason=why, failing=True)

    def progress(self, stored: Stored[Cluster], parts: Collection[PartName], *, required: bool) -> Progress:
        """Return how far a change is on all nodes of a cluster, since poolers on all of their hosts serve.

        Standbys whose host is lost are not waited for unless the change is ``required``, and those whose host
        was removed never.
        """
        cluster, first = stored.value, self.store.shown_node(stored.value)
        found = [in_force.progress(self.hindrance(cluster, first), stored.revision, parts)]
        for node in cluster.nodes if topology.has_standbys(cluster) else ():
            is_lost = not required and bool(silence.of_host(self.store, node.host, self.began))
            mine = in_force.on_standby(parts, self.store.status(cluster.id, node.name))
            if node.name != first.name and node.lost_at is None and mine and not is_lost:
                found.append(in_force.progress(self.hindrance(cluster, node), stored.revision, mine))
        return in_force.of_all(found)

    def standby(self, cluster: Cluster) -> Node | None:
        """Return the node that readers of a cluster are led to, None without a standby."""
        if not topology.has_standbys(cluster):
            return None
        now = self.topology(cluster)
        good = {one.node.name for one in now.members if one.health is topology.Health.HEALTHY}
        return topology.a_standby(cluster, self.store.leader(cluster), good=good)

    def is_lost(self, cluster: Cluster) -> bool:
        """Return whether nobody is there to carry a change out."""
        return bool(silence.reason(self.store, cluster, self.began))

    async def wait_until_in_force(
        self, stored: Stored[Cluster], parts: Collection[PartName], *, required: bool
    ) -> str:
        """Wait until the agent has brought these parts to this revision; return why they are not, or "".

        The wait ends when the agent has failed, its host is lost, the cluster is deleted, or the time is
        over.  A change that is ``required`` to be in force waits while the agent tries again or its host is
        lost, and raises NotInForce in the end.
        """
        id, settings = stored.value.id, self.settings

        def seen() -> Progress:
            return self.progress(stored, parts, required=required)

        def done() -> Progress | None:
            now = self.store.cluster(id)
            if now is None or now.value.deleted_at is not None:
                return Progress(in_force=True)
            found = seen()
            is_over = found.in_force or (not required and (found.failed or self.is_lost(now.value)))
            return found if is_over or silence.was_removed(self.store, now.value) else None

        seconds = settings.access_wait_seconds if required else settings.wait_seconds
        found = await self.store.wait(done, seconds) or seen()
        if found.in_force:
            return ""
        if required and not silence.was_removed(self.store, stored.value):
            raise NotInForce(silence.access_reason(self.store, stored.value, self.began) or found.reason)
        return found.reason

    async def wait_until_online(self, stored: Stored[Cluster]) -> Cluster:
        """Wait, shortly, until a cluster is online; return it as it is then.

        The wait ends when the agent has failed or the cluster is deleted.
        """

        def current() -> Cluster | None:
            now = self.store.cluster(stored.value.id)
            return None if now is None or now.value.deleted_at is not None else now.value

        def done() -> Cluster | None:
            cluster = current()
            if cluster is None:
                return stored.value
            seen = self.report(cluster)
            has_failed = seen is not None and seen.failing and seen.tried >= stored.revision
            is_online = self.status(cluster) is ClusterStatus.ONLINE
            return cluster if is_online or has_failed else None

        seconds = min(self.settings.wait_seconds, self.settings.online_wait_seconds)
        return await self.store.wait(done, seconds) or current() or stored.value

    async def wait_until_removed(
        self, stored: Stored[Cluster], kind: RemovalKind, name: str, *, required: bool
    ) -> None:
        """Wait until the agent has dropped a user or database; NotInForce if it has to be gone and is not."""

        def missing() -> str:
            now, seen = self.store.cluster(stored.value.id), self.hindrance(stored.value)
            if now is None or now.value.deleted_at is not None:
                return ""
            locked_out = self.progress(stored, in_force.LOCKED_OUT, required=required)
            if removals.is_pending(now.value, kind, name, seen):
                return removals.why(now.value, kind, name, seen)
            return "" if locked_out.in_force or kind is not RemovalKind.USER else locked_out.reason

        def is_over() -> bool | None:
            return not missing() or (not required and self.is_lost(stored.value)) or None

        required = required and not silence.was_removed(self.store, stored.value)
        seconds = self.settings.access_wait_seconds if required else self.settings.wait_seconds
        await self.store.wait(is_over, seconds)
        if required and (reason := missing()):
            raise NotInForce(silence.access_reason(self.store, stored.value, self.began) or reason)


@functools.lru_cache(maxsize=16_384)
def uuid_of(text: str) -> UUID | None:
    try:
        id = UUID(text)
    except ValueError:
        return None
    return id if str(id) == text.lower() else None  # UUID() also takes braces and "urn:uuid:"


# -- Declaring operations
