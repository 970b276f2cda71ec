"""The JSON representation of a read replica."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api.connections import ConnectionView, connections, login_of
from cenote.api.lag_view import LagView, lag_view
from cenote.api.service import Service
from cenote.api.views import DoSettingsView, do_settings_view
from cenote.model.records import ADMIN_USER, DEFAULT_DATABASE, Cluster, ClusterStatus
from cenote.model.topology import Health


class ReplicaProgressView(msgspec.Struct, kw_only=True):
    """An extension of Cenote: whether a replica can be used, as its host's agent sees it.

    ``reason`` describes what it waits for or what failed, or is empty.  ``lag`` is left out while it is not
    known.  ``promoting``: it becomes a cluster of its own as soon as it has all data.
    """

    health: Health
    reason: str
    since: datetime | UnsetType = UNSET
    host: str
    source: UUID
    promoting: bool
    lag: LagView | UnsetType = UNSET


class ReplicaView(msgspec.Struct, kw_only=True):
    """A read replica with its connection details; ``id`` works as a cluster's does."""

    id: UUID
    name: str
    region: str
    size: str
    status: ClusterStatus
    tags: tuple[str, ...]
    created_at: datetime
    private_network_uuid: UUID
    storage_size_mib: int
    connection: ConnectionView
    private_connection: ConnectionView
    do_settings: DoSettingsView
    cenote: ReplicaProgressView


def replica_view(service: Service, replica: Cluster, *, credentials: bool) -> ReplicaView:
    login = login_of(service, replica, ADMIN_USER) if credentials else None
    node = service.store.shown_node(replica)
    public, private = connections(service, replica, node.port, DEFAULT_DATABASE, login)
    assert replica.replica_of is not None
    host = service.store.host(node.host)
    now = service.topology(replica)
    return ReplicaView(
        id=replica.id,
        name=replica.name,
        region=replica.region,
        size=replica.size,
        status=now.status,
        tags=replica.tags,
        created_at=replica.created_at,
        private_network_uuid=replica.private_network_id,
        storage_size_mib=replica.storage_mib,
        connection=public,
        private_connection=private,
        do_settings=do_settings_view(replica),
        cenote=ReplicaProgressView(
            health=now.health,
            reason=now.reason,
            since=now.since or UNSET,
            host=node.host if host is None else host.name,
            source=replica.replica_of,
            promoting=replica.promote_asked_at is not None,
            lag=lag_view(service, replica),
        ),
    )
