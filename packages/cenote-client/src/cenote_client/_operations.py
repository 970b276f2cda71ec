"""The operations for PostgreSQL and of Cenote as data; those for other engines are in ``other_engines``.

Each is named after the client's method; its type parameter is the method's return type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from . import types as t

T = TypeVar("T")


class Operation(NamedTuple, Generic[T]):
    """Method, path with ``{}`` for each name, status of a success, and whether that has a body."""

    method: str
    path: str
    success: int
    returns_body: bool


CLUSTER = "/v2/databases/{}"

# clusters
LIST_OPTIONS: Operation[t.OptionsResponse] = Operation("GET", "/v2/databases/options", 200, True)
LIST_CLUSTERS: Operation[t.ClusterListResponse] = Operation("GET", "/v2/databases", 200, True)
CREATE_CLUSTER: Operation[t.ClusterResponse] = Operation("POST", "/v2/databases", 201, True)
GET_CLUSTER: Operation[t.ClusterResponse] = Operation("GET", CLUSTER, 200, True)
DESTROY_CLUSTER: Operation[None] = Operation("DELETE", CLUSTER, 204, False)
UPDATE_CLUSTER_SIZE: Operation[None] = Operation("PUT", CLUSTER + "/resize", 202, False)
UPDATE_REGION: Operation[None] = Operation("PUT", CLUSTER + "/migrate", 202, False)
MOVE_CLUSTER: Operation[t.MoveResponse] = Operation("POST", CLUSTER + "/move", 202, True)
SWITCH_OVER: Operation[t.SwitchResponse] = Operation("POST", CLUSTER + "/switchover", 202, True)
CANCEL_SWITCH: Operation[None] = Operation("DELETE", CLUSTER + "/switchover", 204, False)
UPDATE_DELETE_PROTECTION: Operation[None] = Operation("PUT", CLUSTER + "/delete_protection", 204, False)
UPDATE_UNDELETE_DAYS: Operation[None] = Operation("PUT", CLUSTER + "/undelete_days", 204, False)
GET_RECOVERY: Operation[t.RecoveryResponse] = Operation("GET", CLUSTER + "/recover", 200, True)
RECOVER_CLUSTER: Operation[t.RecoveryResponse] = Operation("POST", CLUSTER + "/recover", 202, True)
CANCEL_MOVE: Operation[None] = Operation("DELETE", CLUSTER + "/move", 204, False)
REHEARSE_UPGRADE: Operation[t.RehearsalResponse] = Operation(
    "POST", CLUSTER + "/upgrade/rehearsal", 202, True
)
UPDATE_MAJOR_VERSION: Operation[None] = Operation("PUT", CLUSTER + "/upgrade", 204, False)
INSTALL_UPDATE: Operation[None] = Operation("PUT", CLUSTER + "/install_update", 204, False)
UPDATE_MAINTENANCE_WINDOW: Operation[None] = Operation("PUT", CLUSTER + "/maintenance", 204, False)
GET_CA: Operation[t.CAResponse] = Operation("GET", CLUSTER + "/ca", 200, True)

# settings
GET_CONFIG: Operation[t.ConfigResponse] = Operation("GET", CLUSTER + "/config", 200, True)
PATCH_CONFIG: Operation[None] = Operation("PATCH", CLUSTER + "/config", 200, False)
GET_AUTOSCALE: Operation[t.AutoscaleResponse] = Operation("GET", CLUSTER + "/autoscale", 200, True)
UPDATE_AUTOSCALE: Operation[None] = Operation("PUT", CLUSTER + "/autoscale", 204, False)
GET_DO_SETTINGS: Operation[t.DoSettingsResponse] = Operation("GET", CLUSTER + "/do_settings", 200, True)
UPDATE_DO_SETTINGS: Operation[None] = Operation("PUT", CLUSTER + "/do_settings", 204, False)
LIST_FIREWALL_RULES: Operation[t.FirewallResponse] = Operation("GET", CLUSTER + "/firewall", 200, True)
UPDATE_FIREWALL_RULES: Operation[None] = Operation("PUT", CLUSTER + "/firewall", 204, False)
GET_CLUSTER_METRICS_CREDENTIALS: Operation[t.MetricsCredentialsResponse] = Operation(
    "GET", "/v2/databases/metrics/credentials", 200, True
)
UPDATE_CLUSTER_METRICS_CREDENTIALS: Operation[None] = Operation(
    "PUT", "/v2/databases/metrics/credentials", 204, False
)

# backups, events, online migration
LIST_BACKUPS: Operation[t.BackupListResponse] = Operation("GET", CLUSTER + "/backups", 200, True)
LIST_EVENTS_LOGS: Operation[t.EventListResponse] = Operation("GET", CLUSTER + "/events", 200, True)
GET_MIGRATION_STATUS: Operation[t.OnlineMigration] = Operation(
    "GET", CLUSTER + "/online-migration", 200, True
)
UPDATE_ONLINE_MIGRATION: Operation[t.OnlineMigration] = Operation(
    "PUT", CLUSTER + "/online-migration", 200, True
)
FINISH_ONLINE_MIGRATION: Operation[t.OnlineMigration] = Operation(
    "POST", CLUSTER + "/online-migration/{}/finish", 202, True
)
DELETE_ONLINE_MIGRATION: Operation[None] = Operation("DELETE", CLUSTER + "/online-migration/{}", 204, False)

# users
LIST_USERS: Operation[t.UserListResponse] = Operation("GET", CLUSTER + "/users", 200, True)
ADD_USER: Operation[t.UserResponse] = Operation("POST", CLUSTER + "/users", 201, True)
GET_USER: Operation[t.UserResponse] = Operation("GET", CLUSTER + "/users/{}", 200, True)
DELETE_USER: Operation[None] = Operation("DELETE", CLUSTER + "/users/{}", 204, False)
UPDATE_USER: Operation[t.UserResponse] = Operation("PUT", CLUSTER + "/users/{}", 201, True)
RESET_AUTH: Operation[t.UserResponse] = Operation("POST", CLUSTER + "/users/{}/reset_auth", 200, True)

# databases
LIST: Operation[t.DatabaseListResponse] = Operation("GET", CLUSTER + "/dbs", 200, True)
ADD: Operation[t.DatabaseResponse] = Operation("POST", CLUSTER + "/dbs", 201, True)
GET: Operation[t.DatabaseResponse] = Operation("GET", CLUSTER + "/dbs/{}", 200, True)
DELETE: Operation[None] = Operation("DELETE", CLUSTER + "/dbs/{}", 204, False)

# pools
LIST_CONNECTION_POOLS: Operation[t.PoolListResponse] = Operation("GET", CLUSTER + "/pools", 200, True)
ADD_CONNECTION_POOL: Operation[t.PoolResponse] = Operation("POST", CLUSTER + "/pools", 201, True)
GET_CONNECTION_POOL: Operation[t.PoolResponse] = Operation("GET", CLUSTER + "/pools/{}", 200, True)
UPDATE_CONNECTION_POOL: Operation[None] = Operation("PUT", CLUSTER + "/pools/{}", 204, False)
DELETE_CONNECTION_POOL: Operation[None] = Operation("DELETE", CLUSTER + "/pools/{}", 204, False)
RECONNECT_CONNECTION_POOL: Operation[t.PoolReconnectResponse] = Operation(
    "POST", CLUSTER + "/pools/{}/reconnect", 200, True
)

# replicas
LIST_REPLICAS: Operation[t.ReplicaListResponse] = Operation("GET", CLUSTER + "/replicas", 200, True)
CREATE_REPLICA: Operation[t.ReplicaResponse] = Operation("POST", CLUSTER + "/replicas", 201, True)
GET_REPLICA: Operation[t.ReplicaResponse] = Operation("GET", CLUSTER + "/replicas/{}", 200, True)
DESTROY_REPLICA: Operation[None] = Operation("DELETE", CLUSTER + "/replicas/{}", 204, False)
PROMOTE_REPLICA: Operation[None] = Operation("PUT", CLUSTER + "/replicas/{}/promote", 204, False)

# log sinks
LIST_LOGSINK: Operation[t.LogsinkListResponse] = Operation("GET", CLUSTER + "/logsink", 200, True)
CREATE_LOGSINK: Operation[t.LogsinkResponse] = Operation("POST", CLUSTER + "/logsink", 201, True)
GET_LOGSINK: Operation[t.Logsink] = Operation("GET", CLUSTER + "/logsink/{}", 200, True)
UPDATE_LOGSINK: Operation[None] = Operation("PUT", CLUSTER + "/logsink/{}", 200, False)
DELETE_LOGSINK: Operation[None] = Operation("DELETE", CLUSTER + "/logsink/{}", 200, False)

# Cenote only
CREATE_DRILL: Operation[t.DrillAskedResponse] = Operation("POST", CLUSTER + "/backups/drills", 202, True)
CREATE_BACKUP: Operation[t.BackupAskedResponse] = Operation("POST", CLUSTER + "/backups", 202, True)
LIST_POOL_ADVICE: Operation[t.PoolAdviceResponse] = Operation("GET", CLUSTER + "/pool_advice", 200, True)
GET_POOL_HISTORY: Operation[t.PoolHistoryResponse] = Operation("GET", CLUSTER + "/pool_history", 200, True)
GET_LOGS: Operation[t.LogsResponse] = Operation("GET", CLUSTER + "/logs", 200, True)
LIST_POOL_STATS: Operation[t.PoolStatsListResponse] = Operation("GET", CLUSTER + "/pool_stats", 200, True)
GET_POOL_STATS: Operation[t.PoolStatsResponse] = Operation("GET", CLUSTER + "/pools/{}/stats", 200, True)
LIST_AUDIT: Operation[t.AuditResponse] = Operation("GET", "/v2/cenote/audit", 200, True)
LIST_TOKENS: Operation[t.TokenListResponse] = Operation("GET", "/v2/cenote/tokens", 200, True)
CREATE_TOKEN: Operation[t.TokenResponse] = Operation("POST", "/v2/cenote/tokens", 201, True)
GET_OWN_TOKEN: Operation[t.TokenResponse] = Operation("GET", "/v2/cenote/token", 200, True)
LIST_HOST_TOKENS: Operation[t.HostTokenListResponse] = Operation("GET", "/v2/cenote/hosts/tokens", 200, True)
CREATE_HOST_TOKEN: Operation[t.HostTokenResponse] = Operation("POST", "/v2/cenote/hosts/tokens", 201, True)
LIST_HOSTS: Operation[t.HostListResponse] = Operation("GET", "/v2/cenote/hosts", 200, True)
LIST_DELETED_CLUSTERS: Operation[t.DeletedClusterListResponse] = Operation(
    "GET", "/v2/cenote/deleted", 200, True
)
UNDELETE_CLUSTER: Operation[t.UndeletedClusterResponse] = Operation(
    "POST", "/v2/cenote/deleted/{}/undelete", 200, True
)
PURGE_CLUSTER: Operation[None] = Operation("DELETE", "/v2/cenote/deleted/{}", 204, False)
DRAIN_HOST: Operation[t.HostResponse] = Operation("POST", "/v2/cenote/hosts/{}/drain", 200, True)
UNDRAIN_HOST: Operation[t.HostResponse] = Operation("DELETE", "/v2/cenote/hosts/{}/drain", 200, True)
REMOVE_HOST: Operation[None] = Operation("DELETE", "/v2/cenote/hosts/{}", 204, False)
LIST_KEYS: Operation[t.SealingKeyListResponse] = Operation("GET", "/v2/cenote/keys", 200, True)
ROTATE_KEYS: Operation[t.KeyRotationResponse] = Operation("POST", "/v2/cenote/keys/rotate", 202, True)
LIST_ACTIVITY: Operation[t.ActivityResponse] = Operation("GET", "/v2/cenote/activity", 200, True)
REVOKE_HOST_TOKEN: Operation[None] = Operation("DELETE", "/v2/cenote/hosts/tokens/{}", 204, False)
REVOKE_TOKEN: Operation[None] = Operation("DELETE", "/v2/cenote/tokens/{}", 204, False)
