"""What customers read of a cluster and of what is in it: records in, JSON out.

A caller without ``database:view_credentials`` is shown no user and no password, in URIs neither.  A field of
which nothing can be said is left out rather than null, as strictly typed clients want it.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from cenote import rules
from cenote.api.connections import ConnectionView, connections, login_of
from cenote.api.service import Service
from cenote.model import catalog
from cenote.model.records import (
    ADMIN_USER,
    DEFAULT_DATABASE,
    ENGINE,
    Access,
    Cluster,
    ClusterStatus,
    Database,
    FirewallRule,
    Pool,
    PoolMode,
    SourceType,
    User,
    UserRole,
)


class PoolView(msgspec.Struct, kw_only=True):
    """A connection pool.  An empty ``user`` means that each client reaches the database as itself."""

    user: str
    name: str
    size: int
    db: str
    mode: PoolMode
    connection: ConnectionView
    private_connection: ConnectionView


class UserView(msgspec.Struct, kw_only=True):
    """A role that can log in."""

    name: str
    role: UserRole
    password: str | UnsetType = UNSET
    settings: UserSettingsView | UnsetType = UNSET
    cenote: UserExtensionView | UnsetType = UNSET


class UserSettingsView(msgspec.Struct):
    """Shown once it was set: strict clients take an unasked setting for a difference."""

    pg_allow_replication: bool


class UserExtensionView(msgspec.Struct):
    """An addition of Cenote's: what the user may do with what others make."""

    access: Access


class DatabaseView(msgspec.Struct, kw_only=True):
    """A database of a cluster."""

    name: str
    cenote: DatabaseExtensionView | UnsetType = UNSET


class DatabaseExtensionView(msgspec.Struct):
    """An addition of Cenote's: whose database it is, when the administrator's it is not."""

    owner: str


class MaintenanceWindowView(msgspec.Struct, kw_only=True):
    """When work on the cluster may begin, in UTC."""

    day: str
    hour: str
    pending: bool = False
    description: list[str] = []


class RuleView(msgspec.Struct, kw_only=True):
    """A trusted source."""

    uuid: UUID
    cluster_uuid: UUID
    type: SourceType
    value: str
    created_at: datetime
    description: str | UnsetType = UNSET


class OwnSettingsView(msgspec.Struct):
    """A customer's own names for a cluster, which its certificate is good for, too."""

    service_cnames: tuple[str, ...]


class StorageAutoscaleView(msgspec.Struct, kw_only=True):
    """Storage that grows by itself; the numbers are there while it does."""

    enabled: bool
    threshold_percent: int | UnsetType = UNSET
    increment_gib: int | UnsetType = UNSET


class AutoscaleView(msgspec.Struct):
    storage: StorageAutoscaleView


class ProgressView(msgspec.Struct, kw_only=True):
    """An addition of Cenote's: what the cluster waits for, or what failed, in words; empty when nothing."""

    reason: str
    failing: bool


class MetricsEndpointView(msgspec.Struct):
    """Where the metrics of a node are read: ``https://host:port/metrics``."""

    host: str
    port: int


class ClusterView(msgspec.Struct, kw_only=True):
    """A cluster, with all that is needed to connect to it."""

    id: UUID
    name: str
    engine: str
    version: str
    semantic_version: str | UnsetType = UNSET
    num_nodes: int
    size: str
    region: str
    status: ClusterStatus
    created_at: datetime
    private_network_uuid: UUID
    project_id: UUID
    tags: tuple[str, ...]
    db_names: list[str]
    connection: ConnectionView
    private_connection: ConnectionView
    users: list[UserView]
    maintenance_window: MaintenanceWindowView
    storage_size_mib: int
    storage_autoscale: StorageAutoscaleView
    autoscale: AutoscaleView
    do_settings: OwnSettingsView
    metrics_endpoints: list[MetricsEndpointView]
    rules: list[RuleView]
    version_end_of_life: datetime | UnsetType = UNSET
    version_end_of_availability: datetime | UnsetType = UNSET
    cenote: ProgressView


def cluster_view(service: Service, cluster: Cluster, *, credentials: bool) -> ClusterView:
    seen = service.store.status(cluster.id, cluster.primary.name)
    outdated = () if seen is None else seen.outdated
    login = login_of(service, cluster, ADMIN_USER) if credentials else None
    public, private = connections(service, cluster, cluster.primary.port, DEFAULT_DATABASE, login)
    return ClusterView(
        id=cluster.id,
        name=cluster.name,
        engine=ENGINE,
        version=cluster.version,
        semantic_version=catalog.versions(service.store.hosts()).get(cluster.version, UNSET),
        num_nodes=len(cluster.nodes),
        size=cluster.size,
        region=cluster.region,
        status=rules.status(cluster, seen),
        created_at=cluster.created_at,
        private_network_uuid=cluster.private_network_id,
        project_id=cluster.project_id,
        tags=cluster.tags,
        db_names=[database.name for database in cluster.databases],
        connection=public,
        private_connection=private,
        users=[user_view(service, user, credentials=credentials) for user in cluster.users],
        maintenance_window=MaintenanceWindowView(
            day=cluster.maintenance_window.day,
            hour=cluster.maintenance_window.hour,
            pending=bool(outdated),
            description=[f"Restart {name} with the program that is installed now" for name in outdated],
        ),
        storage_size_mib=cluster.storage_mib,
        storage_autoscale=storage_autoscale_view(cluster),
        autoscale=AutoscaleView(storage_autoscale_view(cluster)),
        do_settings=own_settings_view(cluster),
        metrics_endpoints=[
            MetricsEndpointView(service.settings.host_of(cluster.name), node.metrics_port)
            for node in cluster.nodes
            if node.metrics_port
        ],
        rules=[rule_view(cluster, rule) for rule in cluster.firewall],
        version_end_of_life=catalog.end_of_life(cluster.version) or UNSET,
        version_end_of_availability=catalog.end_of_availability(cluster.version) or UNSET,
        cenote=ProgressView(
            reason=seen.reason if seen is not None else "waiting for the host's agent",
            failing=seen is not None and seen.failing,
        ),
    )


def pool_view(service: Service, cluster: Cluster, pool: Pool, *, credentials: bool) -> PoolView:
    """Return a pool; one without a user shows the administrator's login, which it takes like any other."""
    login = login_of(service, cluster, pool.user or ADMIN_USER) if credentials else None
    public, private = connections(service, cluster, cluster.primary.pool_port, pool.name, login)
    return PoolView(
        user=pool.user,
        name=pool.name,
        size=pool.size,
        db=pool.database,
        mode=pool.mode,
        connection=public,
        private_connection=private,
    )


def user_view(service: Service, user: User, *, credentials: bool) -> UserView:
    password = service.sealer.open(user.sealed_password).reveal() if credentials else UNSET
    return UserView(
        name=user.name,
        role=user.role,
        password=password,
        settings=UNSET if user.allow_replication is None else UserSettingsView(user.allow_replication),
        cenote=UNSET if user.access is None else UserExtensionView(user.access),
    )


def database_view(database: Database) -> DatabaseView:
    return DatabaseView(
        name=database.name, cenote=DatabaseExtensionView(database.owner) if database.owner else UNSET
    )


def rule_view(cluster: Cluster, rule: FirewallRule) -> RuleView:
    return RuleView(
        uuid=rule.id,
        cluster_uuid=cluster.id,
        type=rule.type,
        value=rule.value,
        created_at=rule.created_at,
        description=rule.description or UNSET,
    )


def storage_autoscale_view(cluster: Cluster) -> StorageAutoscaleView:
    rule = cluster.autoscale
    if not rule.enabled:
        return StorageAutoscaleView(enabled=False)
    return StorageAutoscaleView(
        enabled=True, threshold_percent=rule.threshold_percent, increment_gib=rule.increment_gib
    )


def own_settings_view(cluster: Cluster) -> OwnSettingsView:
    return OwnSettingsView(cluster.service_names)
