"""Types of what a Cenote service adds to the reference; the hosted product has none of it.

Additions to responses of the reference are below the key ``cenote``.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class ClusterNode(TypedDict):
    """One of several nodes of a cluster; ``writes`` for the one that takes writes."""

    name: str
    writes: bool
    health: Literal["healthy", "starting", "degraded", "down", "unknown"]
    reason: str
    since: NotRequired[str]


class ClusterAdditions(TypedDict):
    """``health`` is whether the cluster can be used, as the agent of its host sees it, ``since`` that time.

    ``reason`` is what the cluster waits for, or what failed, as a sentence; empty if neither applies.
    ``not_in_force`` describes the changes that the servers do not have yet, and the settings of PostgreSQL
    that wait for a restart, are not accepted or have no effect.
    """

    health: Literal["healthy", "starting", "degraded", "down", "unknown"]
    reason: str
    since: NotRequired[str]
    failing: bool
    nodes: NotRequired[list[ClusterNode]]
    not_in_force: NotRequired[list[str]]


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


class UserAdditions(TypedDict):
    """The user's access to tables that other users create; None revokes it."""

    access: Literal["readonly", "readwrite"] | None


class DatabaseAdditions(TypedDict):
    """The owner of the database, if it is not the administrator."""

    owner: str


class OptionsAdditions(TypedDict):
    """The available extensions by version of PostgreSQL."""

    extensions: dict[str, list[str]]


class ConfigAdditions(TypedDict, total=False):
    """Further settings of connection pools; times in seconds, 0 disables a limit."""

    connect_query: str
    idle_transaction_timeout: int
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


class HostPorts(TypedDict):
    """The port range for clusters; ``claimed`` are allocated, ``busy`` are in use by other programs."""

    first: int
    last: int
    claimed: int
    busy: int


class Host(TypedDict):
    """A host that is up; the ``promised`` memory and storage are allocated to clusters."""

    name: str
    address: str
    cpus: int
    memory_mib: int
    promised_memory_mib: int
    promised_storage_mib: int
    clusters: int
    versions: dict[str, str]
    ports: HostPorts


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
    """``numbers`` is None if PgBouncer did not respond in time."""

    cluster_uuid: str
    numbers: ActivityNumbers | None


class ActivityResponse(TypedDict):
    activity: list[Activity]
