"""Clusters, and the options for creating them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NotRequired, TypedDict

from .cenote import ClusterAdditions, ClusterWish, OptionsAdditions
from .settings import Autoscale, DoSettings, FirewallRule, FirewallRuleCreate
from .users import User

EngineName = Literal[
    "pg", "mysql", "redis", "valkey", "mongodb", "kafka", "opensearch", "advanced_pg", "advanced_mysql"
]
Status = Literal["creating", "online", "resizing", "migrating", "forking"]


class Connection(TypedDict):
    """Connection parameters; ``uri`` has them all in one string, as ``psql`` takes it.

    ``user`` and ``password`` are left out for a token without the scope ``database:view_credentials``.
    """

    protocol: NotRequired[str]
    uri: str
    database: str
    host: str
    port: int
    user: NotRequired[str]
    password: NotRequired[str]
    ssl: bool


class ServiceConnection(TypedDict):
    """Connection to a service that is not a database: OpenSearch Dashboards, the schema registry of Kafka."""

    uri: str
    host: str
    port: int
    user: NotRequired[str]
    password: NotRequired[str]
    ssl: bool


class Endpoint(TypedDict):
    host: str
    port: int


class MaintenanceWindow(TypedDict):
    """When maintenance may start; ``hour`` in UTC.  ``description`` lists ``pending`` work."""

    day: str
    hour: str
    pending: NotRequired[bool]
    description: NotRequired[list[str]]


class Cluster(TypedDict):
    """A cluster; times are RFC 3339 in UTC."""

    id: str
    name: str
    engine: EngineName
    version: str
    semantic_version: NotRequired[str]
    num_nodes: int
    size: str
    region: str
    status: Status
    created_at: str
    private_network_uuid: str
    tags: list[str] | None
    db_names: list[str] | None
    connection: Connection
    private_connection: Connection
    standby_connection: NotRequired[Connection]
    standby_private_connection: NotRequired[Connection]
    ui_connection: NotRequired[ServiceConnection]
    schema_registry_connection: NotRequired[ServiceConnection]
    users: NotRequired[list[User] | None]
    maintenance_window: MaintenanceWindow | None
    project_id: str
    rules: NotRequired[list[FirewallRule]]
    version_end_of_life: NotRequired[str]
    version_end_of_availability: NotRequired[str]
    storage_size_mib: int
    metrics_endpoints: NotRequired[list[Endpoint]]
    do_settings: NotRequired[DoSettings]
    cenote: NotRequired[ClusterAdditions]


Progress = Callable[[Cluster, float], object]
"""Callback of ``wait_until_online``, called with the cluster as last polled and the elapsed seconds."""


class ClusterResponse(TypedDict):
    database: Cluster


class UndeletedClusterResponse(TypedDict):
    """The cluster that is back, and in words what is not as it was."""

    database: Cluster
    changed: list[str]


class ClusterListResponse(TypedDict):
    databases: list[Cluster]


class BackupRestore(TypedDict):
    """The cluster, by its name, whose data the new one gets: as they were at that moment, or are now.

    ``backup_created_at`` is the time of a backup, or any other second that can be restored (RFC 3339).
    """

    database_name: str
    backup_created_at: NotRequired[str]


class ClusterCreate(TypedDict):
    """A cluster to create; ``size`` is a slug of ``list_options``."""

    name: str
    engine: EngineName
    num_nodes: int
    size: str
    region: str
    version: NotRequired[str]
    storage_size_mib: NotRequired[int]
    private_network_uuid: NotRequired[str]
    project_id: NotRequired[str]
    tags: NotRequired[list[str] | None]
    rules: NotRequired[list[FirewallRuleCreate]]
    backup_restore: NotRequired[BackupRestore]
    autoscale: NotRequired[Autoscale]
    do_settings: NotRequired[DoSettings]
    cenote: NotRequired[ClusterWish]


class ClusterResize(TypedDict):
    size: str
    num_nodes: int
    storage_size_mib: NotRequired[int]


class RegionUpdate(TypedDict):
    region: str
    private_network_uuid: NotRequired[str]


class VersionUpdate(TypedDict):
    version: str


class MaintenanceWindowUpdate(TypedDict):
    """``day`` is a weekday in lower case, ``hour`` such as ``13:00``, in UTC."""

    day: str
    hour: str


class CA(TypedDict):
    """``certificate`` is the base64 of the PEM text."""

    certificate: str


class CAResponse(TypedDict):
    ca: CA


class Layout(TypedDict):
    num_nodes: int
    sizes: list[str]


class EngineOptions(TypedDict):
    regions: list[str]
    versions: list[str]
    layouts: list[Layout]
    default_version: NotRequired[str]


class VersionAvailability(TypedDict):
    version: str
    end_of_life: str | None
    end_of_availability: str | None


class Options(TypedDict, total=False):
    """The options by engine; an engine that is not on offer is left out."""

    pg: EngineOptions
    mysql: EngineOptions
    redis: EngineOptions
    valkey: EngineOptions
    mongodb: EngineOptions
    kafka: EngineOptions
    opensearch: EngineOptions
    advanced_pg: EngineOptions
    advanced_mysql: EngineOptions


class VersionAvailabilities(TypedDict, total=False):
    """The end of life and of availability of versions, by engine."""

    pg: list[VersionAvailability]
    mysql: list[VersionAvailability]
    redis: list[VersionAvailability]
    valkey: list[VersionAvailability]
    mongodb: list[VersionAvailability]
    kafka: list[VersionAvailability]
    opensearch: list[VersionAvailability]
    advanced_pg: list[VersionAvailability]
    advanced_mysql: list[VersionAvailability]


class OptionsResponse(TypedDict):
    options: Options
    version_availability: VersionAvailabilities
    cenote: NotRequired[OptionsAdditions]
