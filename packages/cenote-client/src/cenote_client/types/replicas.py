"""Read-only replicas of a cluster."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from .clusters import Connection, Status
from .settings import DoSettings


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


class ReplicaResponse(TypedDict):
    replica: Replica


class ReplicaListResponse(TypedDict):
    replicas: list[Replica]


class ReplicaCreate(TypedDict):
    name: str
    region: NotRequired[str]
    size: NotRequired[str]
    tags: NotRequired[list[str]]
    private_network_uuid: NotRequired[str]
    storage_size_mib: NotRequired[int]
    do_settings: NotRequired[DoSettings]
