"""What a Cenote service adds to the reference; the hosted product has none of it.

What it adds to answers of the reference stands below a key ``cenote``.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class ClusterAdditions(TypedDict):
    """What the cluster waits for, or what failed, in words; ``reason`` is empty when there is nothing."""

    reason: str
    failing: bool


class LogsinkAdditions(TypedDict):
    """How a log sink gets on, in words; the bytes of the logs that wait, and those that nobody will get."""

    state: Literal["starting", "delivering", "failing"]
    reason: str
    delivered_at: str | None
    lag_bytes: int
    lost_bytes: int
    refused_messages: int


class UserAdditions(TypedDict):
    """What the user may do with what others make; None takes it away."""

    access: Literal["readonly", "readwrite"] | None


class DatabaseAdditions(TypedDict):
    """Whose database it is, when it is not the administrator's."""

    owner: str


class OptionsAdditions(TypedDict):
    """Which extensions databases can have, by version."""

    extensions: dict[str, list[str]]


class ConfigAdditions(TypedDict, total=False):
    """More settings for the connection pools; times in seconds, 0 is no limit."""

    connect_query: str
    idle_transaction_timeout: int
    max_prepared_statements: int
    query_wait_timeout: int


class AuditToken(TypedDict):
    """The token that was shown; it may have been revoked since."""

    id: str
    name: str


class AuditEntry(TypedDict):
    """A change, or calls that were refused with the code ``refused``, ``count`` of them.

    ``token`` is None for what the service did by itself, and for a refused call of somebody unknown.
    """

    id: str
    at: str
    what: str
    token: AuditToken | None
    address: str | None
    request_id: str | None
    cluster_uuid: str | None
    cluster_name: str | None
    event_type: str | None
    refused: int | None
    count: int


class AuditResponse(TypedDict):
    entries: list[AuditEntry]


class Token(TypedDict):
    """A token; ``token`` is its text, which only the answer to its making has."""

    id: str
    name: str
    scopes: list[str]
    created_at: str
    expires_at: str | None
    token: NotRequired[str]


class TokenCreate(TypedDict):
    """Without ``expires_at`` it does not end."""

    name: str
    scopes: list[str]
    expires_at: NotRequired[str | None]


class TokenResponse(TypedDict):
    token: Token


class TokenListResponse(TypedDict):
    tokens: list[Token]


class HostPorts(TypedDict):
    """The range for clusters, how many of it are theirs, and how many are in use by other programs."""

    first: int
    last: int
    claimed: int
    busy: int


class Host(TypedDict):
    """A machine that is up, and what of it has been promised to clusters."""

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


class UsedConnections(TypedDict):
    """Server connections that pools hold, and how many all of them may have."""

    used: int
    allowed: int


class ActivityNumbers(TypedDict):
    """All pools of a cluster together."""

    connections: UsedConnections
    clients: int
    waiting: int
    transactions_per_second: float


class Activity(TypedDict):
    """``numbers`` is None where the pooler did not answer in time."""

    cluster_uuid: str
    numbers: ActivityNumbers | None


class ActivityResponse(TypedDict):
    activity: list[Activity]
