"""Validation of a cluster's configuration, and the settings in effect.

A change is checked as a whole and against the rest of the cluster, so that the record never holds settings
with which the server would not start.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from cenote.errors import Invalid
from cenote.model import catalog, parameters
from cenote.model.parameters import Parameter
from cenote.model.records import Cluster, Configuration, Value
from cenote.model.status_records import SettingLimits
from cenote.rules import failover_settings, sizing, unused_settings

POOLER_KEY, EXTENSIONS_KEY = "pgbouncer", "cenote"
MAX_CONNECTIONS_FACTOR = 4  # times the default of the size: the maximum of max_connections
DEFAULT_SHARED_BUFFERS_PERCENTAGE = 25.0  # of the memory

# Measured with the shared_memory_size of PostgreSQL 15 and 18, rounded up: bytes for each lock, predicate
# lock, and slot of a backend or prepared transaction; and the overhead of a buffer.
_LOCK, _PREDICATE_LOCK, _BACKEND = 400, 250, 7_500
_BUFFER_OVERHEAD = 1.055
_BASE_MIB = 16
_MAX_SHARED_FRACTION = 0.8  # of the memory

# Each host of a cluster of three has a pooler that may use all connections of the pools.
_HOSTS = 3
_LEAST = {"max_wal_senders": 40, "max_replication_slots": 32}


@dataclass(frozen=True, slots=True)
class HostCapabilities:
    """What the host of a cluster offers to its server."""

    memory_mib: int
    libraries: Collection[str]
    time_zones: Collection[str]
    limits: Mapping[str, SettingLimits] = field(default_factory=dict)


def change(
    cluster: Cluster, requested: Mapping[str, Any], in_force: Mapping[str, Value], host: HostCapabilities
) -> Cluster:
    """Return the cluster with the requested settings; others stay, and null restores a default.

    A setting that is requested at its current default stays unset: clients send back all settings that they
    have read, and defaults that depend on the size must follow a resize.
    """
    before = cluster.configuration
    nested = {POOLER_KEY: before.pgbouncer, EXTENSIONS_KEY: before.cenote}
    unused, requested = unused_settings.split(requested, before.unused)
    failover = {name: value for name, value in requested.items() if name in parameters.FAILOVER}
    failover_settings.check(cluster, failover)
    own = {
        name: value
        for name, value in requested.items()
        if name not in nested
        and name not in failover
        and (name, value) not in parameters.OF_OTHER_ENGINES.items()
    }
    after = Configuration(
        unused=_merged(before.unused, unused, {}, parameters.UNUSED.__getitem__),
        failover=_merged(
            before.failover,
            failover,
            failover_settings.in_force(cluster),
            parameters.FAILOVER.__getitem__,
        ),
        postgresql=_merged(
            before.postgresql, own, in_force, lambda name: _server_parameter(name, cluster, host)
        ),
        pgbouncer=_merged(
            before.pgbouncer, _object(requested, POOLER_KEY), parameters.POOLER_DEFAULTS, _pooler_parameter
        ),
        cenote=_merged(
            before.cenote,
            _object(requested, EXTENSIONS_KEY),
            parameters.EXTENSION_DEFAULTS,
            _extension_parameter,
        ),
    )
    _check_only_grows(before.postgresql, after.postgresql)
    changed = replace(cluster, configuration=after)
    check_fits(changed, host)
    return changed


def check_fits(cluster: Cluster, host: HostCapabilities) -> None:
    """Raise Invalid when the settings conflict with each other, the size, the host or the pools."""
    chosen, size = cluster.configuration.postgresql, catalog.SIZES[cluster.size]
    zone = chosen.get("timezone")
    if zone is not None and zone not in host.time_zones:
        raise Invalid(f"timezone: {zone!a} is not a time zone, such as 'Europe/Helsinki'.")
    maximum = MAX_CONNECTIONS_FACTOR * catalog.backend_connections(size)
    connections = max_connections(cluster)
    if connections > maximum:
        raise Invalid(f"max_connections: {connections} is too large: size {size.slug} takes up to {maximum}.")
    by_size = sizing.settings(memory_mib(cluster, host.memory_mib), size.vcpus, connections)
    for name, total in parameters.DRAWN_FROM:
        limit = _number(chosen.get(total, int(by_size[total])))
        if name in chosen and _number(chosen[name]) > limit:
            raise Invalid(f"{name}: {chosen[name]} is more than {total} ({limit}); raise that as well.")
    check_pools_fit(cluster)
    memory = memory_mib(cluster, host.memory_mib)
    shared = shared_mib(cluster, host.memory_mib, connections)
    if shared > _MAX_SHARED_FRACTION * memory:
        raise Invalid(
            "max_locks_per_transaction, max_prepared_transactions, max_pred_locks_per_transaction, "
            f"max_connections and shared_buffers_percentage: they take {shared} MiB of shared memory, "
            f"more than the {int(_MAX_SHARED_FRACTION * memory)} allowed of this server's {memory} MiB."
        )


def check_pools_fit(cluster: Cluster) -> None:
    """Raise Invalid when the pools need more connections than the server has for pools."""
    wanted, capacity = sum(pool.size for pool in cluster.pools), pool_capacity(cluster)
    if wanted > capacity:
        raise Invalid(
            f"the {len(cluster.pools)} pools of this cluster need {wanted} connections; with size "
            f"{cluster.size} and {max_connections(cluster)} connections in total, {capacity} are for pools; "
            "shrink pools first."
        )
    automatic = _number(cluster.configuration.pgbouncer.get("autodb_pool_size", 0))
    if automatic > capacity - wanted:
        raise Invalid(
            f"autodb_pool_size: {automatic} is too large: {capacity - wanted} of {capacity} connections are "
            "left for more pools on this cluster."
        )


def max_connections(cluster: Cluster) -> int:
    """Return the connections that the customer has, pools and direct ones together.

    ``work_mem`` and all limits follow this number.  The server itself has ``with_room`` for more.
    """
    default = catalog.pool_capacity(catalog.SIZES[cluster.size]) + catalog.RESERVED_CONNECTIONS
    return int(_number(cluster.configuration.postgresql.get("max_connections", default)))


def with_room(cluster: Cluster, host_memory_mib: int) -> dict[str, str]:
    """Return the settings that have room for further hosts of the cluster, so that these need no restart.

    Where the memory would not take it, there is no room for connections.
    """
    chosen, told = cluster.configuration.postgresql, max_connections(cluster)
    roomy = told + (_HOSTS - 1) * pool_capacity(cluster)
    limit = _MAX_SHARED_FRACTION * memory_mib(cluster, host_memory_mib)
    fits = shared_mib(cluster, host_memory_mib, roomy) <= limit
    return {"max_connections": str(roomy if fits else told)} | {
        name: str(max(least, int(_number(chosen.get(name, least))))) for name, least in _LEAST.items()
    }


def pool_capacity(cluster: Cluster) -> int:
    """Return how many of the server's connections are for pools, all pools together."""
    return min(max_connections(cluster) - catalog.RESERVED_CONNECTIONS, catalog.MAX_POOLED_CONNECTIONS)


def memory_mib(cluster: Cluster, host_memory_mib: int) -> int:
    """Return the memory that the server is sized for: a large size must start on a small host, too."""
    return min(catalog.SIZES[cluster.size].memory_mib, host_memory_mib)


def shared_buffers_mib(cluster: Cluster, host_memory_mib: int) -> int:
    share = _number(
        cluster.configuration.postgresql.get("shared_buffers_percentage", DEFAULT_SHARED_BUFFERS_PERCENTAGE)
    )
    return max(16, int(memory_mib(cluster, host_memory_mib) * share / 100))


def shared_mib(cluster: Cluster, host_memory_mib: int, connections: int) -> int:
    """Return an upper estimate of the shared memory that a server with so many connections allocates."""
    chosen = cluster.configuration.postgresql

    def number(name: str, default: int) -> float:
        return _number(chosen.get(name, default))

    backends = (
        connections
        + number("autovacuum_max_workers", 3)
        + number("max_worker_processes", catalog.SIZES[cluster.size].vcpus + 8)
        + max(number("max_wal_senders", 0), _LEAST["max_wal_senders"])
        + number("max_prepared_transactions", 0)
        + 8
    )
    each = (
        _BACKEND
        + number("track_activity_query_size", 1024)
        + _LOCK * number("max_locks_per_transaction", 64)
        + _PREDICATE_LOCK * number("max_pred_locks_per_transaction", 64)
    )
    buffers = shared_buffers_mib(cluster, host_memory_mib) * _BUFFER_OVERHEAD
    return int(_BASE_MIB + buffers + backends * each / 2**20)


def effective_values(cluster: Cluster, seen: Mapping[str, str]) -> dict[str, Value]:
    """Convert a server's settings (``SHOW``) to the API's names and units."""
    values = {
        name: parameter.read(seen[parameter.server_name])
        for name, parameter in parameters.POSTGRESQL.items()
        if parameter.server_name in seen and name != "shared_buffers_percentage"
    }
    if "max_connections" in values:  # the server has room for more
        values["max_connections"] = max_connections(cluster)
    return values


def effective_settings(cluster: Cluster, seen: Mapping[str, str]) -> dict[str, Any]:
    """Return all settings: those set by the customer, and the current values of the others."""
    chosen = cluster.configuration
    own: dict[str, Any] = {"shared_buffers_percentage": DEFAULT_SHARED_BUFFERS_PERCENTAGE}
    own |= effective_values(cluster, seen) | chosen.postgresql | unused_settings.shown(chosen.unused)
    own |= failover_settings.shown(cluster)
    return dict(sorted(own.items())) | {
        POOLER_KEY: parameters.POOLER_DEFAULTS | chosen.pgbouncer,
        EXTENSIONS_KEY: parameters.EXTENSION_DEFAULTS | chosen.cenote,
    }


def _merged(
    before: Mapping[str, Value],
    requested: Mapping[str, Any],
    in_force: Mapping[str, Value],
    parameter: Callable[[str], Parameter],
) -> dict[str, Value]:
    merged = dict(before)
    for name, value in requested.items():
        found = parameter(name)
        if value is None:
            merged.pop(name, None)
            continue
        if name in merged and merged[name] == value and type(merged[name]) is type(value):
            continue  # clients send back what they have read, also a value that the server does not accept
        checked = found.check(value)
        if name in merged or in_force.get(name) != checked:
            merged[name] = checked
    return merged


def _server_parameter(name: str, cluster: Cluster, host: HostCapabilities) -> Parameter:
    found = parameters.POSTGRESQL.get(name)
    if found is None:
        raise Invalid(f"config: {name[:80]!a} is not a setting that can be changed here.")
    if found.since > int(cluster.version):
        raise Invalid(
            f"{name}: requires PostgreSQL {found.since} or later; this cluster has {cluster.version}."
        )
    if found.library and found.library not in host.libraries:
        raise Invalid(f"{name}: requires {found.library}, which is not installed on the cluster's host.")
    limits = host.limits.get(name)
    return found if limits is None else found.narrowed(limits)


def _pooler_parameter(name: str) -> Parameter:
    return _nested_parameter(POOLER_KEY, parameters.POOLER, name)


def _extension_parameter(name: str) -> Parameter:
    return _nested_parameter(EXTENSIONS_KEY, parameters.EXTENSIONS, name)


def _nested_parameter(key: str, table: Mapping[str, Parameter], name: str) -> Parameter:
    if name not in table:
        raise Invalid(f"{key}: {name[:80]!a} is not a setting that can be changed here.")
    return table[name]


def _object(requested: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = requested.get(key)
    if found is not None and not isinstance(found, dict):
        raise Invalid(f"{key}: must be an object.")
    return found or {}


def _check_only_grows(before: Mapping[str, Value], after: Mapping[str, Value]) -> None:
    for name, value in before.items():
        if parameters.POSTGRESQL[name].only_grows and _number(after.get(name, -1)) < _number(value):
            raise Invalid(f"{name}: was raised to {value} and can't be lowered again.")


def _number(value: Value) -> float:
    assert isinstance(value, int | float)
    return value
