"""The desired state of a node: the record, the node of it that is meant, and the host that it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from cenote.model import catalog, firewall, topology
from cenote.model.by_sql import NOTHING, BySql
from cenote.model.changes import Program
from cenote.model.failover import NOTHING_AGREED, Agreed, HostFailover
from cenote.model.firewall import Networks
from cenote.model.host_backups import HostBackups
from cenote.model.paths import ClusterPaths, Layout, NodePaths
from cenote.model.records import Cluster, MoveStage, Node
from cenote.model.timing import DEFAULT, Timing


class NodeKind(StrEnum):
    """``WRITER``: takes writes.  ``PLAIN``: started and restarted by us.  ``MANAGED``: by Patroni, the
    failover agent of a cluster with several nodes, which also says which of them takes writes.

    The others are of a node while its cluster moves.  ``FOLLOWING``: copies another node and follows it.
    ``ENDING``: gives up writing behind held pools.  ``LEFT``: its server has ended for good, and its pooler
    leads its clients to the node that took over.  ``RESTORING``: its data are being restored, or were, and
    the record says so still: nobody may log in yet, and no role or database is made, changed or dropped.
    ``AWAITING``: is to copy the data that are being restored on another node.
    ``REPLICA``: of a read replica: copies another cluster, its source, and follows it.
    While one of several nodes is upgraded to another major version, that is ``UPGRADING``, and Patroni does
    not run it; the others are ``RESTING``: neither Patroni nor PostgreSQL works there.
    """

    WRITER = "writer"
    PLAIN = "plain"
    MANAGED = "managed"
    FOLLOWING = "following"
    ENDING = "ending"
    LEFT = "left"
    RESTORING = "restoring"
    AWAITING = "awaiting"
    REPLICA = "replica"
    UPGRADING = "upgrading"
    RESTING = "resting"


_OF_SOURCE = {
    MoveStage.COPYING: frozenset({NodeKind.WRITER, NodeKind.PLAIN}),
    MoveStage.SWITCHING: frozenset({NodeKind.ENDING}),
    MoveStage.LEAVING: frozenset({NodeKind.LEFT}),
}
_OF_TARGET = {
    MoveStage.COPYING: frozenset({NodeKind.FOLLOWING}),
    MoveStage.SWITCHING: frozenset({NodeKind.FOLLOWING}),
    MoveStage.LEAVING: frozenset({NodeKind.WRITER, NodeKind.PLAIN}),
}


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node, with the address and the name of its host; "" while these are not known."""

    node: Node
    address: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """What a read replica follows: a cluster's name, and address and port of each of its servers' hosts.

    ``recovered_at``: when it last went on from backups; a replica from before may have more than it.
    ``upgraded_to``: the major version that it is being upgraded to, "" without an upgrade.
    """

    name: str
    places: tuple[tuple[str, int], ...] = ()
    recovered_at: datetime | None = None
    upgraded_to: str = ""


@dataclass(frozen=True, slots=True)
class Follower:
    """A read replica of a cluster: the slot that it follows by, and the id of its host."""

    slot: str
    host: str


@dataclass(frozen=True, slots=True)
class HostContext:
    """What is the same for all nodes of a host: addresses, accounts, programs, memory."""

    layout: Layout
    listen: tuple[str, ...]
    service_user: str
    server_user: str
    binaries: dict[str, Path] = field(repr=False)
    pgbouncer: Path
    memory_mib: int
    libraries: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)  # by major version
    descriptors: int = 65_536  # that a process may have open
    ephemeral: bool = False  # the data goes when the service ends
    trash_days: int = 7  # for which the trash is kept; 0: there is none
    server_ids: tuple[int, int] | None = None  # user and group of the servers, where they are not ours
    copy_rate_mib: int = 0  # that a copy of another node's data may take in a second; 0: no limit
    timing: Timing = DEFAULT
    backups: HostBackups | None = None  # None: it keeps none
    failover: HostFailover | None = None  # None: it cannot run nodes of clusters with several

    @property
    def keeps_trash(self) -> bool:
        return self.trash_days > 0 and not self.ephemeral


@dataclass(frozen=True)
class NodeContext:
    """A node of a cluster.

    ``leader`` is the node that the failover agent names, None without one, and ``agreed`` what the store has
    for that agent of the cluster.  ``was_online``: the node
    has worked before, so its data is not to be made a second time.  ``refused`` are settings that its server
    does not accept, with the values.  ``by_sql`` is what SQL has changed, as it was last seen.  ``peer`` is
    the other node while the cluster moves, and the one that takes writes of a cluster with several.
    ``source`` is what a read replica follows, and ``replicas`` are those that follow the cluster.
    ``data_version`` is the major version of the node's data, "" without any: its server is started with the
    programs of its data, whatever the record asks for.  ``shares_repository``: all hosts of the cluster's
    nodes keep backups in one place, as far as is known.
    """

    cluster: Cluster
    node: Node
    host: HostContext
    issued_certificate: str | None = field(default=None, repr=False)  # the last one, in PEM
    store_certificate: str = field(default="", repr=False)  # issued with it, for the fleet's store
    leader: str | None = None
    agreed: Agreed = NOTHING_AGREED
    was_online: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)
    by_sql: BySql = NOTHING
    peer: Peer | None = None
    data_version: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)  # of the hosts of its nodes, by their ids
    shares_repository: bool = True
    source: Source | None = None
    replicas: tuple[Follower, ...] = ()

    @property
    def version(self) -> str:
        """The major version that the server has, or gets."""
        return self.data_version or self.cluster.version

    @cached_property
    def kinds(self) -> frozenset[NodeKind]:
        """The only node of a cluster is writer and plain at once."""
        if self.cluster.replica_of is not None:
            return frozenset({NodeKind.REPLICA})
        move = self.cluster.move
        if move is not None and self.node.name == move.source:
            return _OF_SOURCE[move.stage]
        if move is not None and self.node.name == move.target:
            return _OF_TARGET[move.stage]
        restoration = self.cluster.restoration
        if restoration is not None:
            is_first = restoration.node == self.node.name
            return frozenset({NodeKind.RESTORING, NodeKind.PLAIN} if is_first else {NodeKind.AWAITING})
        upgraded = topology.upgraded_alone(self.cluster)
        if upgraded == self.node.name:
            return frozenset({NodeKind.WRITER, NodeKind.PLAIN, NodeKind.UPGRADING})
        if upgraded and topology.rests(self.cluster, self.node):
            return frozenset({NodeKind.RESTING})
        kinds = set()
        if topology.writer(self.cluster, self.leader) == self.node:
            kinds.add(NodeKind.WRITER)
        kinds.add(NodeKind.MANAGED if topology.has_standbys(self.cluster) else NodeKind.PLAIN)
        return frozenset(kinds)

    @property
    def needs_store_certificate(self) -> bool:
        """Whether Patroni of the node reaches the store by TLS."""
        failover = self.host.failover
        return failover is not None and failover.in_fleet and NodeKind.MANAGED in self.kinds

    @property
    def address(self) -> str:
        """Where other nodes of the cluster reach this one; "" while it is not known."""
        return self.addresses.get(self.node.host, "")

    @cached_property
    def is_first_here(self) -> bool:
        """Whether no earlier node of the cluster is on its host; what a host has once is for the first."""
        here = [node.name for node in self.cluster.nodes if node.host == self.node.host]
        return not here or self.node.name not in here or here[0] == self.node.name

    @property
    def is_alone(self) -> bool:
        """Whether no server of another host has to do with the node's."""
        return self.peer is None and not (topology.has_standbys(self.cluster) or self.source or self.replicas)

    @property
    def in_words(self) -> str:
        """What the log calls the node."""
        return topology.in_words(self.cluster, self.node.name)

    @cached_property
    def paths(self) -> NodePaths:
        return self.host.layout.node(self.cluster.id, self.node.name)

    @cached_property
    def cluster_paths(self) -> ClusterPaths:
        return self.host.layout.cluster(self.cluster.id)

    @property
    def size(self) -> catalog.Size:
        return catalog.SIZES[self.cluster.size]

    @property
    def backups(self) -> HostBackups | None:
        """How the cluster is backed up, None if it is not: no host that could, or no passphrase yet."""
        kept = self.host.backups
        if kept is None or self.cluster.backups is None or kept.hindrance(self.version):
            return None
        return kept

    @cached_property
    def server(self) -> Program:
        return self.paths.server(self.server_binaries)

    @property
    def server_binaries(self) -> Path:
        # A version that is not on this machine is reported when its template is asked for.
        return self.host.binaries.get(self.version, Path("missing"))

    @cached_property
    def bouncer(self) -> Program:
        return self.cluster_paths.bouncer(self.host.pgbouncer)

    @property
    def programs(self) -> tuple[Program, ...]:
        """The servers that run; no pooler before the users are those of the restored data."""
        if NodeKind.AWAITING in self.kinds:
            return ()
        if NodeKind.RESTING in self.kinds:
            return (self.bouncer,)
        return (self.server,) if self.is_restoring else (self.server, self.bouncer)

    @property
    def has_nodes(self) -> bool:
        """Whether its server has others that follow it, or poolers of other hosts."""
        return not self.kinds.isdisjoint({NodeKind.MANAGED, NodeKind.UPGRADING})

    @property
    def is_restoring(self) -> bool:
        return NodeKind.RESTORING in self.kinds

    @property
    def networks(self) -> Networks:
        """The addresses that clients may log in from, None for all; none before the users are known."""
        return () if self.is_restoring else firewall.networks(self.cluster.firewall)

    @cached_property
    def failover_agent(self) -> Program:
        failover = self.host.failover
        return self.paths.failover_agent(Path("missing") if failover is None else failover.python)
