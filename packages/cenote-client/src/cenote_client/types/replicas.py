"""Read-only replicas of a cluster."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from .cenote import ReplicaLag
from .clusters import Connection, Status
from .settings import DoSettings


class ReplicaProgress(TypedDict):
    """Whether a replica can be used; ``reason`` says what it waits for.  Cenote only.

    ``source`` is the id of its cluster.  ``lag`` is missing while it is not known.  ``promoting``: it becomes
    a cluster of its own as soon as it has all data.
    """

    health: Literal["healthy", "starting", "degraded", "down", "unknown"]
    reason: str
    since: NotRequired[str]
    host: str
    source: str
    promoting: bool
    lag: NotRequired[ReplicaLag]


class Replica(TypedDict):
    """A read-only replica; times are RFC 3339 in UTC."""

    id: str
    name: str
    region: str
    size: str
    status: Status
    tags: list[str] | None
    created_at: str
    private_network_uuid: str
    connection: Connection
    private_connection: Connection
    storage_size_mib: int
    do_settings: NotRequired[DoSettings]
    cenote: NotRequired[ReplicaProgress]


class ReplicaResponse(TypedDict):
    replica: Replica


class ReplicaListResponse(TypedDict):
    replicas: list[Replica]


class ReplicaExtension(TypedDict):
    """The host, by name or id, or the zone to place a replica in.  Cenote only."""

    host: NotRequired[str]
    zone: NotRequired[str]


class ReplicaCreate(TypedDict):
    """Without ``size`` and ``region`` a replica has those of its cluster."""

    name: str
    region: NotRequired[str]
    size: NotRequired[str]
    tags: NotRequired[list[str]]
    private_network_uuid: NotRequired[str]
    storage_size_mib: NotRequired[int]
    do_settings: NotRequired[DoSettings]
    cenote: NotRequired[ReplicaExtension]
