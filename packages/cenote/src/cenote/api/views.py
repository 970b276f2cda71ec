"""Views: the JSON representation of a cluster and its parts, from records.

Without ``database:view_credentials``, users and passwords are left out, in URIs, too.  Fields without a value
are left out rather than null, as strictly typed clients expect.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from cenote.api import names, pending_restarts
from cenote.api.backups import BackupsView, state_view
from cenote.api.connections import (
    ConnectionView,
    UrisView,
    connections,
    login_of,
    standby_connections,
    uris,
)
from cenote.api.lag_view import LagView, lag_view
from cenote.api.move_view import MoveView, move_view
from cenote.api.rehearsal_view import RehearsalView, rehearsal_view
from cenote.api.service import Service
from cenote.api.switch_view import SwitchView, switch_view
from cenote.model import catalog, topology
from cenote.model.by_sql import BySql
from cenote.model.records import (
    ADMIN_USER,
    DEFAULT_DATABASE,
    ENGINE,
    Access,
    Cluster,
    ClusterStatus,
    Database,
    FirewallRule,
    Node,
    Pool,
    PoolMode,
    SourceType,
    User,
    UserRole,
)
from cenote.model.standby_pools import standby_pools
from cenote.model.status_records import NodeStatus
from cenote.rules import (
    archiving,
    in_force,
    refused_settings,
    removals,
    replicas,
    sql_changes,
    unused_settings,
)

GONE, CLOSED, SET_BY_SQL = "gone", "closed", "set by SQL"


class PoolView(msgspec.Struct, kw_only=True):
    """A connection pool.  With an empty ``user``, clients keep the user they log in as.

    ``standby_connection`` has the name under which it leads to a standby; left out where there is none.
    """

    user: str
    name: str
    size: int
    db: str
    mode: PoolMode
    connection: ConnectionView
    private_connection: ConnectionView
    standby_connection: ConnectionView | UnsetType = UNSET
    standby_private_connection: ConnectionView | UnsetType = UNSET
    cenote: PoolExtensionView | UnsetType = UNSET


class PoolExtensionView(msgspec.Struct):
    """An extension of Cenote: ``closed`` with the reason, when it rejects all clients because of SQL."""

    state: str
    reason: str


class UserView(msgspec.Struct, kw_only=True):
    """A role that can log in."""

    name: str
    role: UserRole
    password: str | UnsetType = UNSET
    settings: UserSettingsView | UnsetType = UNSET
    cenote: UserExtensionView | UnsetType = UNSET


class UserSettingsView(msgspec.Struct):
    """Left out until it is set: strict clients take an unrequested setting for drift."""

    pg_allow_replication: bool


class UserExtensionView(msgspec.Struct, omit_defaults=True):
    """An extension of Cenote: the user's access to other users' tables, and what SQL has changed.

    ``state`` is ``gone`` for a user that SQL has dropped or renamed, ``closed`` for one that cannot log in;
    ``reason`` says why.  ``password`` is ``set by SQL`` when the API does not know it.
    """

    access: Access | UnsetType = UNSET
    state: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    password: str | UnsetType = UNSET


class DatabaseView(msgspec.Struct, kw_only=True):
    """A database of a cluster."""

    name: str
    cenote: DatabaseExtensionView | UnsetType = UNSET


class DatabaseExtensionView(msgspec.Struct, omit_defaults=True):
    """An extension of Cenote: the owner, unless it is the administrator, and what SQL has changed.

    ``state`` is ``gone`` for a database that SQL has dropped or renamed, ``closed`` for one that takes no
    connections; ``reason`` says why.
    """

    owner: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class MaintenanceWindowView(msgspec.Struct, kw_only=True):
    """When maintenance of the cluster may begin, in UTC."""

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


class DoSettingsView(msgspec.Struct):
    """Custom DNS names of a cluster, which its certificate is also valid for."""

    service_cnames: tuple[str, ...]


class StorageAutoscaleView(msgspec.Struct, kw_only=True):
    """Storage autoscaling; the numbers are left out while it is disabled."""

    enabled: bool
    threshold_percent: int | UnsetType = UNSET
    increment_gib: int | UnsetType = UNSET


class AutoscaleView(msgspec.Struct):
    storage: StorageAutoscaleView


class NodeRole(StrEnum):
    PRIMARY = "primary"
    STANDBY = "standby"


class NodeView(msgspec.Struct, kw_only=True):
    """One of several nodes, with the name of its host; ``writes`` for the one that takes writes.

    Of a standby, ``lag_bytes`` is what it has not replayed yet and ``lag_seconds`` how long ago what it has
    was written; they are left out while that is not known.  ``sync``: commits wait for it, or for another
    one of those that say so.
    """

    name: str
    role: NodeRole
    host: str
    port: int
    writes: bool
    health: topology.Health
    reason: str
    since: datetime | UnsetType = UNSET
    lag_bytes: int | UnsetType = UNSET
    lag_seconds: float | UnsetType = UNSET
    sync: bool | UnsetType = UNSET


class ProgressView(msgspec.Struct, kw_only=True):
    """An extension of Cenote: whether the cluster can be used, as its host's agent sees it.

    ``reason`` describes what the cluster waits for or what failed, or is empty.  ``since`` is when the health
    became what it is, left out while that is not known.  ``host`` is the name of the host that the cluster
    is on, or its primary.  ``nodes`` is left out for a single one.  With ``distinct_hosts`` its nodes never
    share a host.
    ``move`` is how far the move to another host is, left out without one; ``switchover`` how far the switch
    to another node is, likewise.
    ``not_in_force`` describes the changes that the servers do not have yet, and the settings that wait for a
    restart, are not accepted or have no effect; it is left out without any.  ``by_sql`` describes what SQL
    has taken away of what was created here, and is left out without any, too.  ``uris`` name every host of
    the cluster.  With ``delete_protection`` it cannot be deleted.  ``undelete_days`` is for how many days it
    can be undeleted then, left out where the service says so.  ``upgrading_from`` is the version that the
    cluster is being upgraded from, left out without an upgrade; that of a read replica until it is copied
    anew from its upgraded source.  ``rehearsal`` is the last one of an upgrade.  ``backups`` is left out
    where none are kept.
    Of a read replica, ``replica_of`` is the id of its source, and ``lag`` how far it is behind that, left out
    while it is not known.
    """

    health: topology.Health
    reason: str
    since: datetime | UnsetType = UNSET
    failing: bool
    host: str
    nodes: list[NodeView] | UnsetType = UNSET
    move: MoveView | UnsetType = UNSET
    switchover: SwitchView | UnsetType = UNSET
    not_in_force: list[str] | UnsetType = UNSET
    by_sql: list[str] | UnsetType = UNSET
    uris: UrisView | UnsetType = UNSET
    delete_protection: bool
    distinct_hosts: bool = False
    undelete_days: int | UnsetType = UNSET
    upgrading_from: str | UnsetType = UNSET
    rehearsal: RehearsalView | UnsetType = UNSET
    replica_of: UUID | UnsetType = UNSET
    lag: LagView | UnsetType = UNSET
    backups: BackupsView | UnsetType = UNSET


class MetricsEndpointView(msgspec.Struct):
    """The endpoint of a node's metrics: ``https://host:port/metrics``."""

    host: str
    port: int


class ClusterView(msgspec.Struct, kw_only=True):
    """A cluster with its connection details; those of a standby are left out where there is none."""

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
    standby_connection: ConnectionView | UnsetType = UNSET
    standby_private_connection: ConnectionView | UnsetType = UNSET
    users: list[UserView]
    maintenance_window: MaintenanceWindowView
    storage_size_mib: int
    storage_autoscale: StorageAutoscaleView
    autoscale: AutoscaleView
    do_settings: DoSettingsView
    metrics_endpoints: list[MetricsEndpointView]
    rules: list[RuleView]
    version_end_of_life: datetime | UnsetType = UNSET
    version_end_of_availability: datetime | UnsetType = UNSET
    cenote: ProgressView


def cluster_view(service: Service, cluster: Cluster, *, credentials: bool) -> ClusterView:
    seen = service.report(cluster)
    # While it moves, the other node is there for the move alone.
    nodes = cluster.nodes if cluster.move is None else (service.store.shown_node(cluster),)
    found = sql_changes.of(seen)
    updates = [] if seen is None else pending_restarts.updates(service, cluster, seen)
    login = login_of(service, cluster, ADMIN_USER) if credentials else None
    version = _version(service, cluster)
    public, private = connections(
        service, cluster, service.store.shown_node(cluster).port, DEFAULT_DATABASE, login
    )
    view = ClusterView(
        id=cluster.id,
        name=cluster.name,
        engine=ENGINE,
        version=version,
        semantic_version=service.store.full_version(replace(cluster, version=version)) or UNSET,
        num_nodes=topology.node_count(cluster),
        size=cluster.size,
        region=cluster.region,
        status=service.status(cluster),
        created_at=cluster.created_at,
        private_network_uuid=cluster.private_network_id,
        project_id=cluster.project_id,
        tags=cluster.tags,
        db_names=_database_names(cluster, found),
        connection=public,
        private_connection=private,
        users=[
            user_view(service, user, found, credentials=credentials)
            for user in sql_changes.users(cluster, found)
        ],
        maintenance_window=MaintenanceWindowView(
            day=cluster.maintenance_window.day,
            hour=cluster.maintenance_window.hour,
            pending=bool(updates),
            description=updates,
        ),
        storage_size_mib=cluster.storage_mib,
        storage_autoscale=storage_autoscale_view(cluster),
        autoscale=AutoscaleView(storage_autoscale_view(cluster)),
        do_settings=do_settings_view(cluster),
        metrics_endpoints=[
            MetricsEndpointView(_host_of(service, cluster, node), node.metrics_port)
            for node in _one_of_each_host(nodes)
            if node.metrics_port
        ],
        rules=[rule_view(cluster, rule) for rule in cluster.firewall],
        version_end_of_life=catalog.end_of_life(cluster.version) or UNSET,
        version_end_of_availability=catalog.end_of_availability(cluster.version) or UNSET,
        cenote=_progress_view(service, cluster, seen, uris(service, cluster, DEFAULT_DATABASE, login)),
    )
    if (standby := service.standby(cluster)) is not None:
        view.standby_connection, view.standby_private_connection = standby_connections(
            service, cluster, standby, standby.port, DEFAULT_DATABASE, login
        )
    return view


def _version(service: Service, cluster: Cluster) -> str:
    """Return the version that a cluster has, or gets, as a read replica does after its source."""
    if cluster.replica_of is None:
        return cluster.version
    return replicas.shown_version(cluster, service.store.living_cluster(cluster.replica_of))


def _upgraded_from(service: Service, cluster: Cluster) -> str | UnsetType:
    if cluster.major_upgrade is not None:
        return cluster.major_upgrade.source
    return UNSET if _version(service, cluster) == cluster.version else cluster.version


def _host_of(service: Service, cluster: Cluster, node: Node) -> str:
    """Return the host of a node; that of the writer is the cluster's."""
    if node is service.store.shown_node(cluster):
        return service.host_of(cluster)
    return service.address_of(node)


def _one_of_each_host(nodes: Iterable[Node]) -> Iterable[Node]:
    """Return the nodes without those that share a host, and its endpoint, with one before."""
    return {node.host: node for node in reversed(tuple(nodes))}.values()


def _database_names(cluster: Cluster, found: BySql) -> list[str]:
    """Return the names of the databases that are there."""
    names = []
    for database in sql_changes.databases(cluster, found):
        seen = sql_changes.database_of(database, found)
        if seen is None or not seen.gone:
            names.append(database.name)
    return names


def _progress_view(
    service: Service, cluster: Cluster, seen: NodeStatus | None, all_hosts: UrisView
) -> ProgressView:
    now = service.topology(cluster)
    nodes = [
        NodeView(
            name=member.node.name,
            role=NodeRole.PRIMARY if member.writes else NodeRole.STANDBY,
            host=_host_name(service, member.node),
            port=member.node.port,
            writes=member.writes,
            health=member.health,
            reason=member.reason,
            since=member.since or UNSET,
            **_lag(member),
        )
        for member in now.members
    ]
    return ProgressView(
        health=now.health,
        reason=archiving.with_remedy(now.reason),
        since=now.since or UNSET,
        failing=seen is not None and seen.failing,
        host=_host_name(service, service.store.shown_node(cluster)),
        nodes=nodes if len(nodes) > 1 else UNSET,
        move=move_view(service, cluster),
        switchover=switch_view(service, cluster),
        not_in_force=_not_in_force(service, cluster, service.hindrance(cluster)) or UNSET,
        by_sql=sql_changes.in_words(cluster, sql_changes.of(seen)) or UNSET,
        uris=all_hosts,
        delete_protection=cluster.delete_protection,
        distinct_hosts=cluster.distinct_hosts,
        undelete_days=UNSET if cluster.undelete_days is None else cluster.undelete_days,
        upgrading_from=_upgraded_from(service, cluster),
        rehearsal=rehearsal_view(service, cluster),
        replica_of=cluster.replica_of or UNSET,
        lag=UNSET if cluster.replica_of is None else lag_view(service, cluster),
        backups=state_view(service, cluster),
    )


def _lag(member: topology.Member) -> dict[str, Any]:
    standby = member.standby
    if standby is None:
        return {}
    seconds = UNSET if standby.seconds is None else round(standby.seconds, 3)
    return {"lag_bytes": standby.behind, "lag_seconds": seconds, "sync": member.sync}


def _host_name(service: Service, node: Node) -> str:
    host = service.store.host(node.host)
    return node.host if host is None else host.name


def _not_in_force(service: Service, cluster: Cluster, seen: NodeStatus | None) -> list[str]:
    """Describe what the servers do not have yet: changes of the record, and settings that need a restart."""
    stored = service.store.cluster(cluster.id)
    without_effect = [*unused_settings.in_words(cluster), *names.not_in_force(service, cluster)]
    if seen is None or stored is None:
        return without_effect
    return [
        *in_force.lacking(seen, stored.revision),
        *removals.in_words(cluster, seen),
        *refused_settings.refusals(cluster, seen),
        *pending_restarts.in_words(service, cluster, seen),
        *without_effect,
    ]


def pool_view(service: Service, cluster: Cluster, pool: Pool, *, credentials: bool) -> PoolView:
    """Return a pool; one without a user shows the administrator's login, as it accepts all users."""
    login = login_of(service, cluster, pool.user or ADMIN_USER) if credentials else None
    public, private = connections(
        service, cluster, service.store.shown_node(cluster).pool_port, pool.name, login
    )
    problem = sql_changes.pool_problem(cluster, pool, service.by_sql(cluster))
    view = PoolView(
        user=pool.user,
        name=pool.name,
        size=pool.size,
        db=pool.database,
        mode=pool.mode,
        connection=public,
        private_connection=private,
        cenote=PoolExtensionView(CLOSED, problem) if problem else UNSET,
    )
    name = standby_pools(one.name for one in cluster.pools).get(pool.name)
    if name is not None and (standby := service.standby(cluster)) is not None:
        view.standby_connection, view.standby_private_connection = standby_connections(
            service, cluster, standby, standby.pool_port, name, login
        )
    return view


def user_view(service: Service, user: User, found: BySql, *, credentials: bool) -> UserView:
    role = sql_changes.role_of(user, found)
    extension = UserExtensionView(access=UNSET if user.access is None else user.access)
    if role is not None and (role.gone or role.closed):
        extension.state, extension.reason = GONE if role.gone else CLOSED, role.gone or role.closed
    password: str | UnsetType = UNSET
    if not sql_changes.knows_password(user, found):
        extension.password = SET_BY_SQL
    elif credentials:
        password = service.sealer.open(user.sealed_password).reveal()
    replicates = user.allow_replication
    if replicates is not None and role is not None and not role.gone:
        replicates = role.replication
    return UserView(
        name=user.name,
        role=user.role,
        password=password,
        settings=UNSET if replicates is None else UserSettingsView(replicates),
        cenote=UNSET if extension == UserExtensionView() else extension,
    )


def database_view(database: Database, found: BySql) -> DatabaseView:
    seen = sql_changes.database_of(database, found)
    owner = database.owner if seen is None or not seen.owner else seen.owner
    extension = DatabaseExtensionView(owner=owner if owner not in ("", ADMIN_USER) else UNSET)
    if seen is not None and (seen.gone or seen.closed):
        extension.state, extension.reason = GONE if seen.gone else CLOSED, seen.gone or seen.closed
    return DatabaseView(
        name=database.name, cenote=UNSET if extension == DatabaseExtensionView() else extension
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


def do_settings_view(cluster: Cluster) -> DoSettingsView:
    return DoSettingsView(cluster.service_names)
