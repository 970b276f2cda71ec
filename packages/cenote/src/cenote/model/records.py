"""The records of clusters: desired state.

Frozen structs without I/O, stored as JSON.  No record holds a status that could disagree with reality:
``ClusterStatus`` is computed from them and from what agents report (``status_records``).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, TypeAlias
from uuid import UUID

import msgspec

from cenote.model.backups import Loss
from cenote.model.migrations import OnlineMigration
from cenote.model.record import Record

ADMIN_USER = "doadmin"
DEFAULT_DATABASE = "defaultdb"
ENGINE = "pg"

# The name of a node is part of paths that root writes to, so it is checked when a record is decoded, too.
NODE_NAME = r"\A[a-z0-9][a-z0-9-]{0,39}\Z"

# A mark in a repository: when it was drawn, and what tells it from others of that second.
LINEAGE = r"\A(?:[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8})?\Z"

Value: TypeAlias = bool | int | float | str | tuple[str, ...]  # of a setting


class PoolMode(StrEnum):
    SESSION = "session"
    TRANSACTION = "transaction"
    STATEMENT = "statement"


class LogSource(StrEnum):
    """The server that writes a log."""

    POSTGRES = "postgres"
    PGBOUNCER = "pgbouncer"


class UserRole(StrEnum):
    PRIMARY = "primary"
    NORMAL = "normal"


class SourceType(StrEnum):
    """What a firewall rule names.  Only addresses work here; the others belong to the hosted product."""

    IP_ADDR = "ip_addr"
    DROPLET = "droplet"
    K8S = "k8s"
    TAG = "tag"
    APP = "app"


class Access(StrEnum):
    """A preset of privileges on the objects of other users."""

    READONLY = "readonly"
    READWRITE = "readwrite"


class ClusterStatus(StrEnum):
    CREATING = "creating"
    ONLINE = "online"
    RESIZING = "resizing"
    MIGRATING = "migrating"
    FORKING = "forking"


class Node(Record, frozen=True, kw_only=True):
    """One server of a cluster, on one host, with the pooler in front of it.

    Which node takes writes is seen, not wanted, so it is not in the record (``model/topology.py``).
    ``host`` is the host's id.  ``metrics_port`` is 0 in records from before metrics, until the controller has
    allocated one.  ``lost_at``: its host was removed as lost, with the data, or the data of a deleted cluster
    is not in its host's trash any more.  ``added_at``: when it became one more node of a cluster that was
    there; None for those that it was made with.  ``replaces``: the node of the cluster that goes once this
    one follows, since its host is drained.
    """

    name: Annotated[str, msgspec.Meta(pattern=NODE_NAME)]
    host: str
    port: int
    pool_port: int
    metrics_port: int = 0
    lost_at: datetime | None = None
    added_at: datetime | None = None
    replaces: str = ""

    @property
    def ports(self) -> frozenset[int]:
        return frozenset({self.port, self.pool_port, self.metrics_port} - {0})


class User(Record, frozen=True, kw_only=True):
    """A role that can log in.  ``verifier`` is for the servers, ``sealed_password`` for the API to show.

    Both are empty for one that was made by SQL: its password is what SQL has set.  ``number`` counts how
    often the API was asked again for what SQL had undone, such as for a role that was dropped.
    """

    name: str
    verifier: str
    sealed_password: str
    role: UserRole = UserRole.NORMAL
    allow_replication: bool | None = None  # None: unset, SQL decides
    access: Access | None = None  # None: only what is granted by SQL
    number: int = 0

    def __repr__(self) -> str:
        return f"User(name={self.name!r}, role={self.role!s})"


class Database(Record, frozen=True, kw_only=True):
    """A database.  With ``owner`` empty it is created for the administrator.

    ``number`` counts how often the API has made it again after SQL had dropped it.
    """

    name: str
    owner: str = ""
    number: int = 0


class RemovalKind(StrEnum):
    USER = "user"
    DATABASE = "database"


class Removal(Record, frozen=True, kw_only=True):
    """A user or database that was deleted and that the server may still have.

    Its name is not available until a report lists ``id`` as gone (``rules/removals.py``).
    """

    id: UUID
    kind: RemovalKind
    name: str
    at: datetime


class Pool(Record, frozen=True, kw_only=True):
    """A connection pool.  With ``user`` empty each client acts as the user that it logged in as.

    ``reconnects`` counts the requests to replace its server connections.
    """

    name: str
    database: str
    size: int
    mode: PoolMode = PoolMode.TRANSACTION
    user: str = ""
    reconnects: int = 0


class FirewallRule(Record, frozen=True, kw_only=True):
    """A trusted source.  ``value`` is as the customer wrote it."""

    id: UUID
    type: SourceType
    value: str
    created_at: datetime
    description: str = ""


class CertificateAuthority(Record, frozen=True, kw_only=True):
    """A cluster's own CA: the certificate in PEM, and its private key sealed."""

    certificate: str
    sealed_key: str

    def __repr__(self) -> str:
        return "CertificateAuthority(…)"


class MaintenanceWindow(Record, frozen=True, kw_only=True):
    day: str = "sunday"
    hour: str = "03:00"


class StorageAutoscale(Record, frozen=True, kw_only=True):
    """Storage that grows by ``increment_gib`` when the threshold, in percent, is used."""

    enabled: bool = False
    threshold_percent: int = 0
    increment_gib: int = 0


class Configuration(Record, frozen=True, kw_only=True):
    """The settings that were chosen, by their names in the API; ``parameters`` has their types and limits.

    Those in ``unused`` are kept for clients that read them again, those in ``failover`` are for Patroni.
    """

    postgresql: dict[str, Value] = {}
    pgbouncer: dict[str, Value] = {}
    cenote: dict[str, Value] = {}
    unused: dict[str, Value] = {}
    failover: dict[str, Value] = {}


class SinkType(StrEnum):
    RSYSLOG = "rsyslog"
    ELASTICSEARCH = "elasticsearch"
    OPENSEARCH = "opensearch"


class LogSink(Record, frozen=True, kw_only=True):
    """A destination of a cluster's logs.  The configuration is sealed, as it may hold secrets."""

    id: UUID
    name: str
    type: SinkType
    sealed_config: str

    def __repr__(self) -> str:
        return f"LogSink(id={self.id}, name={self.name!r}, type={self.type!s})"


class MoveStage(StrEnum):
    """How far the move of a one-node cluster is.

    COPYING: the target copies the source and follows it.  SWITCHING: the source holds its pools and ends its
    server.  LEAVING: the target takes writes, and the source is removed.
    """

    COPYING = "copying"
    SWITCHING = "switching"
    LEAVING = "leaving"


class Move(Record, frozen=True, kw_only=True):
    """The move of a cluster from one node to another, by their names; both are in ``Cluster.nodes``.

    ``since``: when the stage began.  ``tries`` counts the switches that were given up, ``hitch`` is why the
    last one was, or what is waited for, in words.
    """

    source: str
    target: str
    asked_at: datetime
    stage: MoveStage = MoveStage.COPYING
    since: datetime | None = None
    tries: int = 0
    hitch: str = ""

    @property
    def writer(self) -> str:
        """The name of the node that takes writes; the target's only once it may never go back."""
        return self.target if self.stage is MoveStage.LEAVING else self.source


class SwitchStage(StrEnum):
    """How far a planned switch is.

    PREPARING: the writer writes a checkpoint, so that its server ends fast.  HOLDING: each pooler of the
    cluster waits for a quiet moment, and holds its pools.  SWITCHING: the writer gives up to the other node,
    and the poolers follow it and let their clients go on.
    """

    PREPARING = "preparing"
    HOLDING = "holding"
    SWITCHING = "switching"


class Switchover(Record, frozen=True, kw_only=True):
    """A planned switch, from the node that takes writes to another one of the cluster, by their names.

    ``since``: when the stage began.  ``until``: when it is given up.  ``tries`` counts the attempts.
    ``cut``: transactions in pools that do not end by themselves are ended.  ``reason`` is why the controller
    has begun it, in words; "" for one that somebody has asked for.  With ``source`` and ``target`` the same,
    the writer is restarted in its place behind held pools.
    """

    source: str
    target: str
    asked_at: datetime
    until: datetime
    stage: SwitchStage = SwitchStage.PREPARING
    since: datetime | None = None
    tries: int = 0
    cut: bool = False
    reason: str = ""

    @property
    def in_place(self) -> bool:
        """Whether the writer is restarted, and writes on."""
        return self.source == self.target

    @property
    def attempt(self) -> str:
        """What tells an attempt from all others."""
        return f"{self.asked_at.isoformat()}/{self.target}/{self.tries}"


class RestartTurn(Record, frozen=True, kw_only=True):
    """Which of the nodes that stand by is to be restarted now, by its name, and since when.

    All others wait until it follows the writer again.
    """

    node: str
    since: datetime


class BackupPlan(Record, frozen=True, kw_only=True):
    """That a cluster is backed up.  Ring ``host`` has sealed the passphrase, without which nobody reads them.

    ``asked_at`` is when somebody last asked for a backup beside the schedule, ``drill_asked_at`` for a
    restore drill; ``gap_at`` is when WAL was lost on a host that the cluster has left since, and
    ``losses`` are all that nodes of a cluster with several have told, the oldest first.  ``lineage`` is the
    mark in the repository of those servers that archive, since the cluster was recovered from there; "" if it
    never was (``rules/lineages.py``).
    """

    sealed_passphrase: str
    asked_at: datetime | None = None
    gap_at: datetime | None = None
    lineage: Annotated[str, msgspec.Meta(pattern=LINEAGE)] = ""
    drill_asked_at: datetime | None = None
    losses: tuple[Loss, ...] = ()

    def __repr__(self) -> str:
        return f"BackupPlan(asked_at={self.asked_at!r})"


class Restoration(Record, frozen=True, kw_only=True):
    """The backups, or the living server, that the data of a node are made from; it goes when that is done.

    ``source`` is the id of the cluster whose data it is, the cluster's own after the loss of a host.
    ``target`` is the moment that is restored, None for the last one that there is.  Ring ``host`` has sealed
    the passphrase of the source's backups.  With ``live`` the data are copied straight from the source's
    server, which runs on the same host.  A ``fork`` reads users and databases of that moment into its record,
    and nothing is created, changed or dropped on its server before.
    """

    node: str
    source: UUID
    asked_at: datetime
    target: datetime | None = None
    sealed_passphrase: str = ""
    live: bool = False
    fork: bool = True

    def __repr__(self) -> str:
        return f"Restoration(node={self.node!r}, source={self.source}, target={self.target!r})"


class UpgradeStep(StrEnum):
    """How far the upgrade of a cluster with several nodes is; one of a single node is always UPGRADING.

    RELEASING: Patroni ends beside the node that takes writes.  RESTING: the others are stopped, with their
    data.  CHECKING: the upgrade is checked beside the server.  HOLDING: each pooler of the cluster holds its
    pools.  UPGRADING: the server is exchanged.  REJOINING: Patroni runs all nodes again, and those are made
    anew that have data from before.
    """

    RELEASING = "releasing"
    RESTING = "resting"
    CHECKING = "checking"
    HOLDING = "holding"
    UPGRADING = "upgrading"
    REJOINING = "rejoining"


class MajorUpgrade(Record, frozen=True, kw_only=True):
    """That the data of a cluster are being brought to the major version that its record has.

    ``source`` is the version before.  It goes when the data have the version, or when that is refused, and
    then the record has the former version again.

    Of several nodes, ``node`` is the one whose data are upgraded, since it takes writes; "" of one.
    ``since``: when the step began.  ``system`` is the system identifier of the data that all nodes are to
    have in the end, "" before.
    """

    source: str
    asked_at: datetime
    node: str = ""
    step: UpgradeStep = UpgradeStep.UPGRADING
    since: datetime | None = None
    system: str = ""

    @property
    def attempt(self) -> str:
        """What tells an upgrade from all others."""
        return self.asked_at.isoformat()


class Rehearsal(Record, frozen=True, kw_only=True):
    """The last rehearsal of an upgrade to another major version, of the cluster ``fork``, which has its data.

    The rest is known when it has ended: ``failure`` is why the fork could not be upgraded, "" if it was, and
    ``findings`` are what a check of it has found.  For ``held_ms`` the fork had no server.
    """

    version: str
    asked_at: datetime
    fork: UUID
    ended_at: datetime | None = None
    held_ms: int = 0
    failure: str = ""
    findings: tuple[str, ...] = ()


class Keep(Record, frozen=True, kw_only=True):
    """How long the data of a deleted cluster is kept, so that it can be undeleted.

    ``stopped``: its hosts have put it into their trash, and its ports are free.  ``purged``: it is not wanted
    any more, and is removed as soon as its hosts can.  ``backed_up``: it had a backup, from which it can be
    undeleted where its data is not in a trash any more.  ``nodes``: how many it had.
    """

    until: datetime
    stopped: bool = False
    purged: bool = False
    backed_up: bool = False
    nodes: int = 1


class Undeletion(Record, frozen=True, kw_only=True):
    """A deletion that was taken back: the data of these nodes may still be in their hosts' trash."""

    deleted_at: datetime
    nodes: tuple[str, ...]


class Cluster(Record, frozen=True, kw_only=True):
    """The desired state of a cluster: one document, one revision.

    A cluster with ``deleted_at`` is gone for every customer; the record, and the claims on its ports, stay
    until its hosts have stopped and removed it.  So do those of the nodes in ``left``, which were moved away.

    A read replica is one, too, with ``replica_of``.  Its users and databases are its source's, and are not
    written into its record (``rules/replicas.py``).
    """

    id: UUID
    name: str
    version: str
    size: str
    region: str
    created_at: datetime
    storage_mib: int
    project_id: UUID
    assigned_at: datetime | None = None  # None: it has been in its project since it was made
    private_network_id: UUID
    authority: CertificateAuthority
    nodes: tuple[Node, ...]
    users: tuple[User, ...]
    databases: tuple[Database, ...]
    removing: tuple[Removal, ...] = ()  # the oldest first
    pools: tuple[Pool, ...] = ()
    tags: tuple[str, ...] = ()
    firewall: tuple[FirewallRule, ...] = ()  # empty: open to all addresses
    server_names: tuple[str, ...] = ()  # the names and addresses that clients connect to, for the certificate
    service_names: tuple[str, ...] = ()  # a customer's own names for it, for the certificate, too
    maintenance_window: MaintenanceWindow = MaintenanceWindow()
    update_asked_at: datetime | None = None  # outdated servers started before this are restarted
    configuration: Configuration = Configuration()
    autoscale: StorageAutoscale = StorageAutoscale()
    sinks: tuple[LogSink, ...] = ()
    deleted_at: datetime | None = None
    keep: Keep | None = None  # of one that is deleted; None: nothing is kept
    undeletion: Undeletion | None = None  # until the data is back
    delete_protection: bool = False  # it cannot be deleted until this is turned off
    undelete_days: int | None = None  # for which it can be undeleted; None: as the service says
    move: Move | None = None
    left: tuple[Node, ...] = ()  # until their hosts have reported that nothing is left of them
    last_node: int = 0  # the number in the name of the last node that was added, so that none is given twice
    backups: BackupPlan | None = None  # None: it was made without, and none was drawn since
    restoration: Restoration | None = None  # until its data are restored
    major_upgrade: MajorUpgrade | None = None  # until its data have the version of the record
    rehearsal: Rehearsal | None = None  # the last one of an upgrade
    rehearsal_of: UUID | None = None  # it is a fork that this cluster's upgrade is rehearsed on
    online_migration: OnlineMigration | None = None  # the last one, of another server's databases into it
    distinct_hosts: bool = False  # its nodes never share a host
    switchover: Switchover | None = None  # until another node takes writes
    restart_turn: RestartTurn | None = None  # until the node is restarted
    primary: str = ""  # the node that took writes when its event was last written
    failover_login: str = ""  # the password of Patroni's user of the store, sealed by ring ``host``
    replica_of: UUID | None = None  # the cluster that it follows, read only; None: it takes writes itself
    copies: int = 1  # of a replica: the number of the copy of its source's data that it has to have
    promote_asked_at: datetime | None = None  # of a replica: it is to be a cluster of its own

    @property
    def is_put_away(self) -> bool:
        """Whether it is deleted and runs nowhere any more; it can be undeleted from the trash."""
        return self.keep is not None and self.keep.stopped

    def user(self, name: str) -> User | None:
        return next((user for user in self.users if user.name == name), None)

    def database(self, name: str) -> Database | None:
        return next((database for database in self.databases if database.name == name), None)

    def removal(self, kind: RemovalKind, name: str) -> Removal | None:
        """Return the last removal of this name, if it is still known; the thing may be gone by now."""
        return next((one for one in reversed(self.removing) if (one.kind, one.name) == (kind, name)), None)

    def pool(self, name: str) -> Pool | None:
        return next((pool for pool in self.pools if pool.name == name), None)


class Tombstone(Record, frozen=True, kw_only=True):
    """A cluster that was deleted and removed from its hosts."""

    name: str
    at: datetime


class PastRecord(Record, frozen=True, kw_only=True):
    """A cluster's record as it was until ``replaced_at``; ``record`` is its JSON."""

    replaced_at: datetime
    record: msgspec.Raw


class Token(Record, frozen=True, kw_only=True):
    """A bearer token, known by the SHA-256 of its text; the text itself is not kept."""

    id: UUID
    name: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None = None


class MetricsLogin(Record, frozen=True, kw_only=True):
    """The login for the metrics of all clusters.

    With ``verifier`` it is checked without the key ring; earlier versions wrote none.
    """

    username: str
    sealed_password: str
    verifier: str = ""

    def __repr__(self) -> str:
        return f"MetricsLogin(username={self.username!r})"
