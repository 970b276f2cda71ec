"""The configuration of a cluster: what a customer may change of it, and what of it is in force.

Pure, as ``rules`` is.  A change is checked as a whole, with what it means for the rest of the cluster, so
that the record never holds settings with which the server would not start.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from cenote.errors import Invalid
from cenote.model import catalog, parameters
from cenote.model.parameters import Parameter
from cenote.model.records import Cluster, Configuration, Value
from cenote.rules import sizing

POOLER_KEY, EXTENSIONS_KEY = "pgbouncer", "cenote"
MAX_CONNECTIONS_FACTOR = 4  # max_connections is at most so many times what the size comes with
DEFAULT_SHARED_BUFFERS_PERCENTAGE = 25.0  # of the memory, for shared_buffers

# Measured with the shared_memory_size of PostgreSQL 15 and 18, rounded up: bytes for each lock, predicate
# lock and slot of a backend or prepared transaction, and how much a buffer takes besides its own size.
_LOCK, _PREDICATE_LOCK, _BACKEND = 400, 250, 7_500
_BUFFER_OVERHEAD = 1.055
_BASE_MIB = 16
_MAX_SHARED_FRACTION = 0.8  # of the memory


@dataclass(frozen=True, slots=True)
class HostCapabilities:
    """What the host of a cluster has to offer to its server."""

    memory_mib: int
    libraries: Collection[str]
    time_zones: Collection[str]


def change(
    cluster: Cluster, given: Mapping[str, Any], in_force: Mapping[str, Value], around: HostCapabilities
) -> Cluster:
    """Return the cluster with the settings that are given; the others stay, and null takes one back.

    A setting that was never chosen and is given as it is in force stays unchosen: clients send back all that
    they have read, and what follows from the size shall go on following it.
    """
    before = cluster.configuration
    nested = {POOLER_KEY: before.pgbouncer, EXTENSIONS_KEY: before.cenote}
    own = {
        name: value
        for name, value in given.items()
        if name not in nested and (name, value) not in parameters.OF_OTHER_ENGINES.items()
    }
    after = Configuration(
        postgresql=_merged(
            before.postgresql, own, in_force, lambda name: _server_parameter(name, cluster, around)
        ),
        pgbouncer=_merged(
            before.pgbouncer, _object(given, POOLER_KEY), parameters.POOLER_DEFAULTS, _pooler_parameter
        ),
        cenote=_merged(
            before.cenote, _object(given, EXTENSIONS_KEY), parameters.EXTENSION_DEFAULTS, _extension_parameter
        ),
    )
    _check_only_grows(before.postgresql, after.postgresql)
    changed = replace(cluster, configuration=after)
    check_fits(changed, around)
    return changed


def check_fits(cluster: Cluster, around: HostCapabilities) -> None:
    """Raise Invalid when settings do not go together, or with the size or the pools of the cluster."""
    chosen, size = cluster.configuration.postgresql, catalog.SIZES[cluster.size]
    zone = chosen.get("timezone")
    if zone is not None and zone not in around.time_zones:
        raise Invalid(f"timezone: {zone!a} is not the name of a time zone, such as 'Europe/Helsinki'.")
    most = MAX_CONNECTIONS_FACTOR * catalog.backend_connections(size)
    if max_connections(cluster) > most:
        raise Invalid(
            f"max_connections: {max_connections(cluster)} is too large: size {size.slug} takes up to {most}."
        )
    by_size = sizing.settings(memory_mib(cluster, around.memory_mib), size.vcpus, max_connections(cluster))
    for part, whole in parameters.DRAWN_FROM:
        limit = _number(chosen.get(whole, int(by_size[whole])))
        if part in chosen and _number(chosen[part]) > limit:
            raise Invalid(f"{part}: {chosen[part]} is more than the {limit} of {whole}; raise that one, too.")
    check_pools_fit(cluster)
    shared, memory = shared_mib(cluster, around.memory_mib), memory_mib(cluster, around.memory_mib)
    if shared > _MAX_SHARED_FRACTION * memory:
        raise Invalid(
            "max_locks_per_transaction, max_prepared_transactions, max_pred_locks_per_transaction, "
            f"max_connections and shared_buffers_percentage: they take {shared} MiB of shared memory, "
            f"and of the {memory} MiB that a server of this cluster has, {int(_MAX_SHARED_FRACTION * memory)} can be."
        )


def check_pools_fit(cluster: Cluster) -> None:
    """Raise Invalid when the pools want more connections than the server has for them."""
    wanted, capacity = sum(pool.size for pool in cluster.pools), pool_capacity(cluster)
    if wanted > capacity:
        raise Invalid(
            f"the {len(cluster.pools)} pools of this cluster want {wanted} connections, and with size "
            f"{cluster.size} and {max_connections(cluster)} connections in all there are {capacity} for pools; "
            "make pools smaller first."
        )
    automatic = _number(cluster.configuration.pgbouncer.get("autodb_pool_size", 0))
    if automatic > capacity - wanted:
        raise Invalid(
            f"autodb_pool_size: {automatic} is too large: {capacity - wanted} of {capacity} connections are "
            "left for further pools on this cluster."
        )


def max_connections(cluster: Cluster) -> int:
    """Return how many connections the server takes."""
    own = catalog.pool_capacity(catalog.SIZES[cluster.size]) + catalog.RESERVED_CONNECTIONS
    return int(_number(cluster.configuration.postgresql.get("max_connections", own)))


def pool_capacity(cluster: Cluster) -> int:
    """Return how many of them all pools share."""
    return min(max_connections(cluster) - catalog.RESERVED_CONNECTIONS, catalog.MAX_POOLED_CONNECTIONS)


def memory_mib(cluster: Cluster, host_memory_mib: int) -> int:
    """Return the memory that the server is set up for: a large size must start on a small machine, too."""
    return min(catalog.SIZES[cluster.size].memory_mib, host_memory_mib)


def shared_buffers_mib(cluster: Cluster, host_memory_mib: int) -> int:
    share = _number(
        cluster.configuration.postgresql.get("shared_buffers_percentage", DEFAULT_SHARED_BUFFERS_PERCENTAGE)
    )
    return max(16, int(memory_mib(cluster, host_memory_mib) * share / 100))


def shared_mib(cluster: Cluster, host_memory_mib: int) -> int:
    """Return about how much shared memory the server asks for at its start; never less than it does."""
    chosen = cluster.configuration.postgresql

    def number(name: str, default: int) -> float:
        return _number(chosen.get(name, default))

    backends = (
        max_connections(cluster)
        + number("autovacuum_max_workers", 3)
        + number("max_worker_processes", catalog.SIZES[cluster.size].vcpus + 8)
        + number("max_wal_senders", 20)
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


def effective_values(seen: Mapping[str, str]) -> dict[str, Value]:
    """Return the settings of a server in the API's units, out of the server's own words for them."""
    return {
        name: parameter.read(seen[parameter.server_name])
        for name, parameter in parameters.POSTGRESQL.items()
        if parameter.server_name in seen and name != "shared_buffers_percentage"
    }


def effective_settings(cluster: Cluster, seen: Mapping[str, str]) -> dict[str, Any]:
    """Return all settings: the chosen ones, and what is in force of the others."""
    chosen = cluster.configuration
    own: dict[str, Any] = {"shared_buffers_percentage": DEFAULT_SHARED_BUFFERS_PERCENTAGE}
    own |= effective_values(seen) | chosen.postgresql
    return dict(sorted(own.items())) | {
        POOLER_KEY: parameters.POOLER_DEFAULTS | chosen.pgbouncer,
        EXTENSIONS_KEY: parameters.EXTENSION_DEFAULTS | chosen.cenote,
    }


def _merged(
    before: Mapping[str, Value],
    given: Mapping[str, Any],
    in_force: Mapping[str, Value],
    parameter: Callable[[str], Parameter],
) -> dict[str, Value]:
    merged = dict(before)
    for name, value in given.items():
        found = parameter(name)
        if value is None:
            merged.pop(name, None)
            continue
        checked = found.check(value)
        if name in merged or in_force.get(name) != checked:
            merged[name] = checked
    return merged


def _server_parameter(name: str, cluster: Cluster, around: HostCapabilities) -> Parameter:
    if name in parameters.UNSUPPORTED:
        raise Invalid(f"{name}: it can't be set: {parameters.UNSUPPORTED[name]}.")
    found = parameters.POSTGRESQL.get(name)
    if found is None:
        raise Invalid(f"config: {name[:80]!a} is not a setting that can be changed here.")
    if found.since > int(cluster.version):
        raise Invalid(
            f"{name}: PostgreSQL has it since version {found.since}, and this is {cluster.version}."
        )
    if found.library and found.library not in around.libraries:
        raise Invalid(f"{name}: it needs {found.library}, which is not installed on the cluster's host.")
    return found


def _pooler_parameter(name: str) -> Parameter:
    return _nested_parameter(POOLER_KEY, parameters.POOLER, name)


def _extension_parameter(name: str) -> Parameter:
    return _nested_parameter(EXTENSIONS_KEY, parameters.EXTENSIONS, name)


def _nested_parameter(key: str, table: Mapping[str, Parameter], name: str) -> Parameter:
    if name not in table:
        raise Invalid(f"{key}: {name[:80]!a} is not a setting that can be changed here.")
    return table[name]


def _object(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = given.get(key)
    if found is not None and not isinstance(found, dict):
        raise Invalid(f"{key}: it has to be an object.")
    return found or {}


def _check_only_grows(before: Mapping[str, Value], after: Mapping[str, Value]) -> None:
    for name, value in before.items():
        if parameters.POSTGRESQL[name].only_grows and _number(after.get(name, -1)) < _number(value):
            raise Invalid(f"{name}: it was raised to {value} and can't be lowered any more.")


def _number(value: Value) -> float:
    assert isinstance(value, int | float)
    return value
