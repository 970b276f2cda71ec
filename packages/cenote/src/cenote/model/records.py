"""The records: desired state, and reports of what is seen.

Frozen structs without I/O, stored as JSON.  No record holds a status that could disagree with reality:
``ClusterStatus`` is computed from the two kinds of record.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, TypeAlias
from uuid import UUID

import msgspec

from cenote.model.backups import BackupReport
from cenote.model.by_sql import NOTHING, BySql

ADMIN_USER = "doadmin"
DEFAULT_DATABASE = "defaultdb"
ENGINE = "pg"

# The name of a node is part of paths that root writes to, so it is checked when a record is decoded, too.
NODE_NAME = r"\A[a-z0-9][a-z0-9-]{0,39}\Z"

Value: TypeAlias = bool | int | float | str | tuple[str, ...]  # of a setting


class Secret:
    """A text that is hidden in ``repr``, ``str``, log lines and the variables of a traceback."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """The base of all records: immutable, stored without the fields that have their default."""


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


class HostRole(StrEnum):
    """What a host does: it serves the API, runs clusters, or is a member of the store."""

    API = "api"
    DATABASE = "database"
    STORE = "store"


ALL_ROLES = tuple(HostRole)


class Node(Record, frozen=True, kw_only=True):
    """One server of a cluster, on one host, with the pooler in front of it.

    Which node takes writes is seen, not wanted, so it is not in the record (``model/topology.py``).
    ``host`` is the host's id.  ``metrics_port`` is 0 in records from before metrics, until the controller has
    allocated one.  ``lost_at``: its host was removed as lost, with the data.
    """

    name: Annotated[str, msgspec.Meta(pattern=NODE_NAME)]
    host: str
    port: int
    pool_port: int
    metrics_port: int = 0
    lost_at: datetime | None = None

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

    Those in ``unused`` are kept for clients that read them again.
    """

    postgresql: dict[str, Value] = {}
    pgbouncer: dict[str, Value] = {}
    cenote: dict[str, Value] = {}
    unused: dict[str, Value] = {}


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


class BackupPlan(Record, frozen=True, kw_only=True):
    """That a cluster is backed up.  Ring ``host`` has sealed the passphrase, without which nobody reads them.

    ``asked_at`` is when somebody last asked for a backup beside the schedule.
    """

    sealed_passphrase: str
    asked_at: datetime | None = None

    def __repr__(self) -> str:
        return f"BackupPlan(asked_at={self.asked_at!r})"


class Keep(Record, frozen=True, kw_only=True):
    """How long the data of a deleted cluster is kept, so that it can be undeleted.

    ``stopped``: its hosts have put it into their trash, and its ports are free.  ``purged``: it is not wanted
    any more, and is removed as soon as its hosts can.
    """

    until: datetime
    stopped: bool = False
    purged: bool = False


class Undeletion(Record, frozen=True, kw_only=True):
    """A deletion that was taken back: the data of these nodes may still be in their hosts' trash."""

    deleted_at: datetime
    nodes: tuple[str, ...]


class Cluster(Record, frozen=True, kw_only=True):
    """The desired state of a cluster: one document, one revision.

    A cluster with ``deleted_at`` is gone for every customer; the record, and the claims on its ports, stay
    until its hosts have stopped and removed it.  So do those of the nodes in ``left``, which were moved away.
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
    move: Move | None = None
    left: tuple[Node, ...] = ()  # until their hosts have reported that nothing is left of them
    last_node: int = 0  # the number in the name of the last node that was added, so that none is given twice
    backups: BackupPlan | None = None  # None: it was made without, and none was drawn since

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


class DiskUse(Record, frozen=True, kw_only=True):
    """The size of a node's data, and the free space and size of the disk that it is on."""

    used_mib: int
    free_mib: int
    disk_mib: int


class ReportedNote(Record, frozen=True, kw_only=True):
    """A change that an agent made by itself, to become the event of this id."""

    id: str
    at: datetime
    note: Note


class SettingLimits(Record, frozen=True, kw_only=True):
    """What a server takes for a setting, where that is less than is offered; in the units of the API."""

    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] | None = None


class Standby(Record, frozen=True, kw_only=True):
    """How far a standby is: whether it receives, and the position in the WAL up to which it has replayed."""

    streaming: bool
    replayed: int  # bytes


class NodeStatus(Record, frozen=True, kw_only=True):
    """An agent's report on one node.

    ``reached`` is the revision of the record that was carried out, 0 until the node has worked for the first
    time.  ``reason`` says in words what is waited for or what failed; it is empty when nothing is left to do.
    ``settings`` are the settings in force as the server reports them, each with its unit.  ``size``,
    ``region`` and ``storage_mib`` are those in force.  ``outdated`` names the servers whose programs were
    replaced since they were started; ``use`` is the disk use of the data.  ``not_in_force`` are the settings
    that wait for a restart, each with the urgency of that.  ``limits`` are of settings of which the server
    takes less than is offered.  ``refused`` has the settings that the server does not accept, each with the
    value that was written to its file, and is left out there until another one is chosen.

    ``tried`` is the revision that the last pass began with, ``failed`` has the parts that it could not bring
    about, each with the reason, and ``ahead`` those that it has not got to: it waits, or is under way.  All
    other parts are as that revision wants them.

    ``run`` is that of the agent (see ``Presence``): the report of an agent that has ended says what was.
    ``waiting``: something on the machine is waited for.  ``stopped`` names the servers that did not run,
    ``unresponsive`` those that ran and did not answer.  ``since``: when the health that follows began.
    ``notes`` are the newest changes that the agent made by itself.  ``removed`` reports that nothing is left
    of a node whose cluster is deleted; ``removed_for`` is when that was, ``kept`` whether its data is in the
    host's trash.

    ``reached`` does not cover removals: of those in the record, ``gone`` are the ids of those whose user or
    database is no longer on the server, ``remaining`` says for an id why the last attempt to drop it failed.
    ``by_sql`` is what SQL has changed of what the record says.

    ``standby`` is how far a node that follows another one is.  ``ended_at`` is the position in the WAL at
    which the server of a node that gives up writing was shut down, in bytes, 0 while it was not.  ``clients``
    are the connections of customers to its pooler; they are known once it ``leads_on``, which is to the node
    that has taken over; for ``held_ms`` they had waited for that.  ``logical_slots`` are customers' own,
    which no standby has.  ``slot_lost``: WAL is gone that a node that follows this one had not received.
    ``copied_mib`` is what a node that follows has of the other one's data.

    ``backups`` is what the host knows of the cluster's backups, None where it keeps none.
    """

    reached: int
    reason: str = ""
    failing: bool = False
    at: datetime
    run: str = ""
    settings: dict[str, str] = {}
    size: str = ""
    region: str = ""
    storage_mib: int = 0
    outdated: tuple[str, ...] = ()
    used_mib: int = 0
    use: DiskUse | None = None
    notes: tuple[ReportedNote, ...] = ()
    removed: bool = False
    removed_for: datetime | None = None
    kept: bool = False
    not_in_force: dict[str, str] = {}
    waiting: bool = False
    stopped: tuple[str, ...] = ()
    tried: int = 0
    failed: dict[str, str] = {}
    ahead: tuple[str, ...] = ()
    limits: dict[str, SettingLimits] = {}
    refused: dict[str, str] = {}
    gone: tuple[UUID, ...] = ()
    remaining: dict[str, str] = {}
    unresponsive: tuple[str, ...] = ()
    since: datetime | None = None
    by_sql: BySql = NOTHING
    standby: Standby | None = None
    ended_at: int = 0
    clients: int = 0
    logical_slots: tuple[str, ...] = ()
    leads_on: bool = False
    held_ms: int = 0
    slot_lost: bool = False
    copied_mib: int = 0
    backups: BackupReport | None = None


class ServiceCopy(Record, frozen=True, kw_only=True):
    """The backups of the service that a host makes by itself.

    ``at`` is the time of the newest, None without one, ``problem`` why the last attempt has made none.
    """

    at: datetime | None = None
    problem: str = ""


class Host(Record, frozen=True, kw_only=True):
    """A machine that runs nodes; its record stays while the machine is away.

    ``versions`` maps a major version to the full one found there.  ``reads`` is the highest format of records
    that its version of Cenote, ``cenote_version``, can read.  ``fleet_address`` and ``fleet_port`` are where
    other hosts reach it (``model/fleet_ports.py``); they are empty for a host that stands alone.
    """

    id: str
    name: str
    address: str
    memory_mib: int
    cpus: int
    versions: dict[str, str]
    first_port: int
    last_port: int
    busy_ports: tuple[int, ...] = ()  # in use by other programs
    libraries: dict[str, tuple[str, ...]] = {}  # loadable by a server of each version
    extensions: dict[str, tuple[str, ...]] = {}  # available to customers, by version
    cenote_version: str = ""
    reads: int = 0
    keys: tuple[str, ...] = ()  # the ids of the sealing keys that its API can open, as the next
    host_keys: tuple[str, ...] = ()
    seen_at: datetime | None = None  # when it last started or changed
    disk_mib: int = 0  # the file system of its data directory; 0 if an older version wrote the record
    roles: tuple[HostRole, ...] = ALL_ROLES
    zone: str = ""
    fleet_address: str = ""
    fleet_port: int = 0
    unknown: tuple[str, ...] = ()  # nodes that are here and that no record names, as ``<cluster id>/<node>``
    service_copy: ServiceCopy | None = None  # None: it makes none
    repository: str = ""  # where it keeps backups, in words; empty: nowhere
    backup_days: int = 0


class FleetAuthority(Record, frozen=True, kw_only=True):
    """The CA of the hosts' certificates: its own one in PEM, and its private key sealed by ring ``api``."""

    certificate: str
    sealed_key: str

    def __repr__(self) -> str:
        return "FleetAuthority(…)"


class JoinToken(Record, frozen=True, kw_only=True):
    """A token with which one host may join, known by the SHA-256 of its text; the text itself is not kept."""

    id: UUID
    roles: tuple[HostRole, ...]
    created_at: datetime
    expires_at: datetime


class AdmittedHost(Record, frozen=True, kw_only=True):
    """A host that has joined.  Its certificates are issued for this, whatever it asks for.

    ``port`` is its ``--fleet-port``.  ``token`` and ``key`` are hashes of what it was admitted with, so that
    it may ask again when the answer was lost; a host that has begun the fleet has none.
    """

    name: str
    address: str
    roles: tuple[HostRole, ...]
    at: datetime
    zone: str = ""
    port: int = 0
    token: str = ""
    key: str = ""


class StoreMember(Record, frozen=True, kw_only=True):
    """Which member the etcd of a host is: its id among the members of the store."""

    member: int


class HostDrain(Record, frozen=True, kw_only=True):
    """The wish that a host gives away its nodes and takes no others; ``nodes`` were on it at that time."""

    asked_at: datetime
    nodes: int = 0


class RemovedHost(Record, frozen=True, kw_only=True):
    """What is left of a host that was removed, so that it cannot come back; ``lost`` with what was on it."""

    name: str
    at: datetime
    lost: bool = False


class HostRequest(Record, frozen=True, kw_only=True):
    """A host's request for its certificate of the fleet, in PEM; names and roles are the admitted host's."""

    pem: str


class Presence(Record, frozen=True, kw_only=True):
    """An agent that is alive, written under a lease.

    ``run`` is drawn at each start, at ``started_at``.  ``directory`` tells the data directory from a copy of
    it.  ``unseen`` are the nodes that it has not passed over since its start, ``stalled`` those whose pass
    does not end; each is ``<cluster id>/<node>``.
    """

    run: str
    directory: str
    unseen: tuple[str, ...] = ()
    stalled: tuple[str, ...] = ()
    started_at: datetime | None = None


class CertificateRequest(Record, frozen=True, kw_only=True):
    """A host's request for the certificate of a cluster's servers, in PEM; the names are the record's."""

    pem: str


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


class HostDomain(Record, frozen=True, kw_only=True):
    """The domain that a host was started with, and the name server that is told of names in it."""

    domain: str
    server: str = ""


class NameInDns(Record, frozen=True, kw_only=True):
    """A host name in the operator's name server.

    ``target`` is where it leads, an address or a host name, "" while it is not there for certain.
    ``problem`` is why this name cannot be set, in words.
    """

    cluster_id: UUID
    target: str = ""
    problem: str = ""


class NameServerState(Record, frozen=True, kw_only=True):
    """Why no name can be set in the operator's name server, in words, or ""; and since when it is so."""

    problem: str = ""
    since: datetime | None = None


class EventType(StrEnum):
    """The types of events that clients of the DigitalOcean API know."""

    CLUSTER_CREATE = "cluster_create"
    CLUSTER_UPDATE = "cluster_update"
    CLUSTER_DELETE = "cluster_delete"
    CLUSTER_MAINTENANCE_PERFORM = "cluster_maintenance_perform"
    CLUSTER_MASTER_PROMOTION = "cluster_master_promotion"
    CLUSTER_POWERON = "cluster_poweron"
    CLUSTER_POWEROFF = "cluster_poweroff"


class Note(Record, frozen=True, kw_only=True):
    """What an event or an entry of the audit trail says of a change.

    For an API call, ``what`` is the request as method and path, with the caller's token and address; for a
    change that the service makes by itself it is in words, and those are empty.  ``refused`` is the status of
    a rejected call, ``count`` the number of such calls.
    """

    what: str
    type: EventType | None = None  # None: none of them fits; customers see an update
    request_id: str = ""
    address: str = ""
    token_id: UUID | None = None
    token_name: str = ""
    refused: int = 0
    count: int = 1


class Difference(Record, frozen=True, kw_only=True):
    """One thing that a change has changed: ``what`` in words, and its values before and after.

    ``before`` is None for what was added, ``after`` for what was removed, and both for a change whose values
    are not told, such as that of a password.
    """

    what: str
    before: str | None = None
    after: str | None = None


class Event(Record, frozen=True, kw_only=True):
    """A change, written in its transaction.  ``id`` sorts by time.

    ``changes`` are the differences between the records before and after, and ``more`` the number of those
    that are left out.  Earlier versions wrote none.  ``parts`` are the parts of a node that the change
    concerns, ``removing`` the ids of the removals that it has begun.  ``revision``, that of the transaction,
    is not stored, but known once an event is read.
    """

    id: str
    at: datetime
    note: Note
    cluster_id: UUID | None = None
    cluster_name: str = ""
    changes: tuple[Difference, ...] = ()
    more: int = 0
    parts: tuple[str, ...] = ()
    removing: tuple[UUID, ...] = ()
    revision: int = 0


class KeyRecipient(Record, frozen=True, kw_only=True):
    """How the API of a host can be told secrets, until it is started again."""

    public_key: str


class KeyErrand(Record, frozen=True, kw_only=True):
    """What the API of a host is to do with a sealing key (``store/key_sharing.py``).

    ``box`` is the key, for that process alone.  ``problem`` is why it is not done.
    """

    id: UUID
    ring: str
    action: str
    key_id: str
    box: str = ""
    problem: str = ""

    def __repr__(self) -> str:
        return f"KeyErrand(ring={self.ring!r}, action={self.action!r}, key_id={self.key_id!r})"
