"""Types of what a Cenote service adds to the reference; the hosted product has none of it.

Additions to responses of the reference are below the key ``cenote``.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from .backups import BackupState


class ClusterNode(TypedDict):
    """One of several nodes of a cluster, with the name of its host; ``writes`` for the one that takes writes.

    ``lag_bytes`` is what a standby has not replayed yet, ``lag_seconds`` how long ago what it has was
    written, and with ``sync`` commits wait for it or for another such one; left out while not known.
    """

    name: str
    role: NotRequired[Literal["primary", "standby"]]
    host: NotRequired[str]
    port: NotRequired[int]
    writes: bool
    health: Literal["healthy", "starting", "degraded", "down", "unknown"]
    reason: str
    since: NotRequired[str]
    lag_bytes: NotRequired[int]
    lag_seconds: NotRequired[float]
    sync: NotRequired[bool]


class ClusterHost(TypedDict):
    """A host of a cluster, with its direct port and that of its pools."""

    host: str
    port: int
    pool_port: int


class ClusterUris(TypedDict):
    """Connection strings with every host of a cluster, for drivers that take several."""

    hosts: list[ClusterHost]
    libpq: str
    jdbc: str
    asyncpg: str


ClusterMove = TypedDict(
    "ClusterMove",
    {
        "from": str,
        "to": str,
        "stage": Literal["copying", "switching", "leaving"],
        "asked_at": str,
        "since": str,
        "reason": str,
        "copied_mib": NotRequired[int],
        "data_mib": NotRequired[int],
    },
)
"""The move of a cluster between two hosts, by their names; ``since`` is when the stage began.

``reason`` is what is waited for, as a sentence.  ``copied_mib`` of ``data_mib`` are on the new host.
"""


class MoveResponse(TypedDict):
    move: ClusterMove


class MoveWish(TypedDict):
    """The host, by name or id, or the zone to move a cluster to; without, the service chooses a host."""

    host: NotRequired[str]
    zone: NotRequired[str]


class Recovery(TypedDict):
    """What a cluster is recovered from, and on which host.

    What was committed after ``archived_at`` is missing, at most ``missing_seconds``, until ``lost_at``.
    ``loss`` is ``removed``, ``down`` or ``missing``.  ``nodes`` are the hosts of all nodes,
    by name.  ``changed`` says in words what is not as it was.
    """

    host: str
    former_host: str
    loss: str
    repository: str
    backups: int
    archived_at: str | None
    lost_at: str
    missing_seconds: int | None
    nodes: list[str]
    changed: list[str]


class RecoveryResponse(TypedDict):
    recovery: Recovery


class RecoveryWish(TypedDict):
    """The host, by name or id, or the zone to recover a cluster on; without, the service chooses a host.

    Without ``num_nodes`` it gets as many nodes as it had.
    """

    host: NotRequired[str]
    zone: NotRequired[str]
    num_nodes: NotRequired[int]


class SwitchWish(TypedDict):
    """The node that is to take writes; without, the one that lacks least.

    What has not succeeded within ``seconds``, by default 60, is given up.  With ``cut``, clients of pools
    whose transactions do not end are disconnected.
    """

    candidate: NotRequired[str]
    seconds: NotRequired[int]
    cut: NotRequired[bool]


ClusterSwitch = TypedDict(
    "ClusterSwitch",
    {
        "from": str,
        "to": str,
        "stage": Literal["preparing", "holding", "switching"],
        "asked_at": str,
        "until": str,
        "tries": int,
        "reason": str,
        "cut": bool,
    },
)
"""How far a switch to another node is; ``reason`` says what it waits for."""


class UpgradeRehearsal(TypedDict):
    """A rehearsal of an upgrade, which is running, or has passed or failed.

    ``seconds`` is for how long the fork had no server; ``findings`` are what was found in it.
    """

    version: str
    state: Literal["running", "passed", "failed"]
    reason: str
    asked_at: str
    ended_at: NotRequired[str]
    seconds: NotRequired[float]
    findings: list[str]


class RehearsalResponse(TypedDict):
    rehearsal: UpgradeRehearsal


class SwitchResponse(TypedDict):
    """``primary`` takes writes; ``switchover`` is there while the switch is under way."""

    primary: str
    switchover: NotRequired[ClusterSwitch]


class DeleteProtection(TypedDict):
    """While it is enabled, the cluster cannot be deleted."""

    enabled: bool


class UndeleteDays(TypedDict):
    """With 0 a cluster is removed at once when it is deleted; None: as the service says."""

    days: int | None


class DeletedCluster(TypedDict):
    """A deleted cluster that can be undeleted ``until`` then, from the ``trash`` of its ``host``.

    If that has its data no more, ``source`` is ``repository``.  ``used_mib`` is what its data takes there.
    With ``name_taken`` it needs a new name.  ``reason`` is why it cannot be undeleted now.
    """

    id: str
    name: str
    version: str
    size: str
    region: str
    host: str
    deleted_at: str
    until: str
    source: str
    used_mib: int
    name_taken: bool
    reason: NotRequired[str]


class DeletedClusterListResponse(TypedDict):
    deleted: list[DeletedCluster]


class UndeleteWish(TypedDict, total=False):
    """A new name for an undeleted cluster, and the host for one that comes from the repository."""

    name: str
    host: str


class ReplicaLag(TypedDict):
    """How far a replica is behind: bytes of WAL, and the age in seconds of what it has replayed last."""

    bytes: int
    seconds: float


class ClusterAdditions(TypedDict):
    """``health`` is whether the cluster can be used, as the agent of its host sees it, ``since`` that time.

    ``reason`` is what the cluster waits for, or what failed, as a sentence; empty if neither applies.
    ``not_in_force`` describes the changes that the servers do not have yet, and the settings of PostgreSQL
    that wait for a restart, are not accepted or have no effect.  ``by_sql`` describes what SQL has taken away
    of what was created here.  ``host`` is the name of the host that the cluster is on;
    ``move`` is left out for one that is not being moved, ``switchover`` while no switch to another node is
    under way, and ``nodes`` for a single one.  ``uris`` name every host of the cluster.  With
    ``distinct_hosts`` no two of its nodes share one.  With ``delete_protection`` it cannot be deleted.
    ``undelete_days`` is for how many days it can be undeleted then, left out where the service says so.
    ``backups`` is left out where none are kept.  Of a read replica, ``replica_of`` is the id of its source,
    and ``lag`` how far it is behind that, left out while it is not known.
    """

    health: Literal["healthy", "starting", "degraded", "down", "unknown"]
    reason: str
    since: NotRequired[str]
    failing: bool
    host: NotRequired[str]
    nodes: NotRequired[list[ClusterNode]]
    move: NotRequired[ClusterMove]
    switchover: NotRequired[ClusterSwitch]
    not_in_force: NotRequired[list[str]]
    by_sql: NotRequired[list[str]]
    uris: NotRequired[ClusterUris]
    delete_protection: NotRequired[bool]
    upgrading_from: NotRequired[str]
    rehearsal: NotRequired[UpgradeRehearsal]
    distinct_hosts: NotRequired[bool]
    undelete_days: NotRequired[int]
    backups: NotRequired[BackupState]
    replica_of: NotRequired[str]
    lag: NotRequired[ReplicaLag]


class PendingChange(TypedDict):
    """A change that is recorded and not in force yet, with the reason as a sentence."""

    pending: bool
    reason: str


class SettingLimits(TypedDict):
    """What the cluster's server takes for a setting, where that is less than the API offers."""

    minimum: NotRequired[float]
    maximum: NotRequired[float]
    choices: NotRequired[list[str]]


class ConfigLimits(TypedDict):
    limits: dict[str, SettingLimits]


class LogsinkAdditions(TypedDict):
    """Delivery state of a log sink; ``lag_bytes`` are yet to be delivered, ``lost_bytes`` never will be."""

    state: Literal["starting", "delivering", "failing"]
    reason: str
    delivered_at: str | None
    lag_bytes: int
    lost_bytes: int
    refused_messages: int


class UserAdditions(TypedDict, total=False):
    """The user's access to tables that other users create; None revokes it.

    The rest is only in responses, about what SQL has changed: ``state`` with the ``reason`` in words, and
    ``password`` when the API does not know it.
    """

    access: Literal["readonly", "readwrite"] | None
    state: Literal["gone", "closed"]
    reason: str
    password: Literal["set by SQL"]


class DatabaseAdditions(TypedDict, total=False):
    """The owner of the database, if it is not the administrator.

    The rest is only in responses, about what SQL has changed.
    """

    owner: str
    state: Literal["gone", "closed"]
    reason: str


class PoolAdditions(TypedDict):
    """Why a pool rejects all clients: what SQL has changed of its database or user."""

    state: Literal["closed"]
    reason: str


class OfferedSize(TypedDict):
    """What a cluster of a size has by default.

    ``connections`` are those of the server, ``pool_connections`` those of them that its pools can have,
    ``clients`` the clients that PgBouncer takes.  ``fits_on`` are the names of the hosts with enough left.
    """

    slug: str
    vcpus: int
    memory_mib: int
    storage_mib: int
    connections: int
    pool_connections: int
    clients: int
    fits_on: NotRequired[list[str]]


class HostPlace(TypedDict):
    """A host that runs clusters; ``reason`` says why it takes no new ones, ``text`` how much is left."""

    name: str
    zone: str
    reason: str
    text: str
    clusters: int
    cpus: int
    memory_mib: int
    allocated_memory_mib: int
    disk_mib: int
    allocated_storage_mib: int


class ClusterWish(TypedDict, total=False):
    """Where a new cluster is to be placed: on a host, by its name or id, or in a zone of hosts.

    With ``delete_protection`` it cannot be deleted until that is turned off.  ``undelete_days`` is for how
    many days it can be undeleted once it is deleted.  With ``distinct_hosts`` no two of its nodes are ever on
    one host, and it is refused where there are too few.
    """

    host: str
    zone: str
    distinct_hosts: bool
    delete_protection: bool
    undelete_days: int


class HostRoom(TypedDict):
    """The host that a new cluster would be placed on, one of ``hosts``, and what its clusters may use."""

    hosts: int
    clusters: int
    cpus: int
    memory_mib: int
    allocated_memory_mib: int
    disk_mib: int
    allocated_storage_mib: int


class OptionsAdditions(TypedDict):
    """The available extensions by version of PostgreSQL, what the sizes are, and the room on the hosts.

    ``undelete_days`` is for how long a deleted cluster can be undeleted, 0 if it cannot.
    """

    extensions: dict[str, list[str]]
    sizes: NotRequired[list[OfferedSize]]
    room: NotRequired[HostRoom]
    places: NotRequired[list[HostPlace]]
    undelete_days: NotRequired[int]


IgnorableParameter = Literal[
    "client_min_messages",
    "default_text_search_config",
    "default_transaction_isolation",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "jit",
    "lock_timeout",
    "plan_cache_mode",
    "search_path",
    "statement_timeout",
    "synchronous_commit",
    "transaction_timeout",
    "work_mem",
]


class ConfigAdditions(TypedDict, total=False):
    """Further settings of connection pools; times in seconds, 0 disables a limit."""

    connect_query: str
    idle_transaction_timeout: int
    ignore_parameters: list[IgnorableParameter]
    max_prepared_statements: int
    query_wait_timeout: int


class AuditToken(TypedDict):
    """The token that was used; it may have been revoked since."""

    id: str
    name: str


class Change(TypedDict):
    """One thing that was changed, from what to what; ``text`` says both.

    ``before`` is None for what was added, ``after`` for what was removed, and both for what is not told, such
    as a password.
    """

    what: str
    before: str | None
    after: str | None
    text: str


class EventDetails(TypedDict):
    """What was changed, by which token, from where, and whether it is in force.

    ``summary`` is all ``changes`` in one line; ``more`` counts those that are left out.  A ``pending`` change
    has a ``reason``.  ``token`` is None for an action of the service itself.
    """

    summary: str
    changes: list[Change]
    more: int
    token: AuditToken | None
    address: str | None
    request_id: str | None
    outcome: Literal["done", "pending", "refused"] | None
    reason: str | None


class AuditEntry(EventDetails):
    """A change, or ``count`` calls that were rejected with the status ``refused``.

    ``token`` is None for an action of the service itself, and for a rejected call without a valid token.
    ``outcome`` is None for a change of a cluster that is gone.
    """

    id: str
    at: str
    what: str
    cluster_uuid: str | None
    cluster_name: str | None
    event_type: str | None
    refused: int | None
    count: int


class AuditResponse(TypedDict):
    entries: list[AuditEntry]


class Token(TypedDict):
    """A token; ``token`` is the secret, which only the response of ``create_token`` contains."""

    id: str
    name: str
    scopes: list[str]
    created_at: str
    expires_at: str | None
    token: NotRequired[str]


class TokenCreate(TypedDict):
    """Without ``expires_at``, the token does not expire."""

    name: str
    scopes: list[str]
    expires_at: NotRequired[str | None]


class TokenResponse(TypedDict):
    token: Token


class TokenListResponse(TypedDict):
    tokens: list[Token]


class HostToken(TypedDict):
    """A token with which one host may join.

    ``token`` is the secret, ``command`` what to type on the new host, in place of ADDRESS its own
    address; only the response of ``create_host_token`` contains them.
    """

    id: str
    roles: list[str]
    created_at: str
    expires_at: str
    token: NotRequired[str]
    command: NotRequired[str]


class HostTokenCreate(TypedDict):
    """``roles`` are all by default, and the token expires after an hour."""

    roles: NotRequired[list[str]]
    expires_at: NotRequired[str | None]


class HostTokenResponse(TypedDict):
    host_token: HostToken


class HostTokenListResponse(TypedDict):
    """``reached_at`` is where hosts ask to join; None for a service that runs without ``--address``."""

    host_tokens: list[HostToken]
    reached_at: str | None


class HostPorts(TypedDict):
    """The port range for clusters; ``claimed`` are allocated, ``busy`` are in use by other programs."""

    first: int
    last: int
    claimed: int
    busy: int


class HostDrain(TypedDict):
    """Since when a host is drained, and how many of its nodes have left it."""

    asked_at: str
    nodes: int
    moved: int


class HostBackups(TypedDict):
    """Where a host keeps backups, "" for nowhere; ``default``: nobody has said where.

    ``warning`` is why what is there is no backup of the host, ``problem`` why none can be made.
    """

    repository: str
    days: int
    default: bool
    warning: str
    problem: str


class Host(TypedDict):
    """A host; ``state`` is ``up``, ``away`` or, after 20 seconds of that, ``down``, ``since`` that time.

    ``reason`` is what there is to say, as a sentence.  ``drain`` is there while it is drained.  The
    ``promised`` memory and storage are allocated to clusters.  ``unknown`` are nodes that run there and are
    in no record, each as ``<cluster id>/<node>``.  The ``deleted_clusters`` can be undeleted; their data
    takes ``deleted_mib``.
    """

    id: str
    name: str
    address: str
    zone: str
    roles: list[Literal["api", "database", "store"]]
    state: Literal["up", "away", "down"]
    since: NotRequired[str]
    reason: str
    drain: NotRequired[HostDrain]
    cpus: int
    memory_mib: int
    promised_memory_mib: int
    disk_mib: int
    promised_storage_mib: int
    clusters: int
    versions: dict[str, str]
    cenote_version: str
    ports: HostPorts
    unknown: list[str]
    deleted_clusters: int
    deleted_mib: int
    backups: HostBackups
    fleet_address: str
    fleet_port: int


class HostResponse(TypedDict):
    host: Host


class HostListResponse(TypedDict):
    hosts: list[Host]


class SealingKey(TypedDict):
    """A key that secrets are sealed with; ``records`` is None during a rotation."""

    ring: Literal["api", "host"]
    id: str
    made_at: str
    seals: bool
    records: int | None


class KeyRotation(TypedDict):
    """Progress of a rotation; ``removed`` are the ids of the old keys."""

    ring: Literal["api", "host"]
    state: Literal["running", "done", "failed"]
    message: str
    resealed: int
    records: int
    removed: list[str]


class SealingKeyListResponse(TypedDict):
    """``rotation`` is the latest one since the service was started."""

    keys: list[SealingKey]
    rotation: KeyRotation | None


class KeyRotationResponse(TypedDict):
    rotation: KeyRotation


class UsedConnections(TypedDict):
    """Server connections of pools: in use, and their limit."""

    used: int
    allowed: int


class ActivityNumbers(TypedDict):
    """The sums over all pools of a cluster."""

    connections: UsedConnections
    clients: int
    waiting: int
    transactions_per_second: float


class Activity(TypedDict):
    """``numbers`` is None if no PgBouncer responded in time; ``not_counted`` names those that did not."""

    cluster_uuid: str
    numbers: ActivityNumbers | None
    not_counted: NotRequired[list[str]]


class ActivityResponse(TypedDict):
    activity: list[Activity]
