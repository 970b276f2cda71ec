"""Validation of connection pools, and changes to a cluster's list of them."""

from __future__ import annotations

import re

from msgspec.structs import replace

from cenote.errors import Invalid, NotFound
from cenote.model.by_sql import BySql
from cenote.model.records import Cluster, Pool, PoolMode
from cenote.model.standby_pools import SUFFIX
from cenote.model.status_records import NodeStatus
from cenote.rules import configuration, sql_changes
from cenote.rules.names import RESERVED_POOLS, quoted

MAX_POOLS = 21

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def pool_name(name: str) -> str:
    """Check a pool's name.  One character that its parser rejects keeps PgBouncer from starting."""
    if not 3 <= len(name) <= 63:
        raise Invalid(f"name: a pool's name has 3 to 63 characters, this one has {len(name)}.")
    if not NAME.fullmatch(name):
        raise Invalid(
            "name: a pool's name consists of ASCII letters, digits, underscores, hyphens and full stops, and "
            "begins with a letter, a digit or an underscore."
        )
    if name.lower() in RESERVED_POOLS:
        raise Invalid(f"name: {name!r} is reserved.")
    if name.endswith(SUFFIX):
        raise Invalid(f"name: names that end in {SUFFIX!r} are reserved for pools that lead to a standby.")
    return name


def pool_mode(text: str) -> PoolMode:
    try:
        return PoolMode(text)
    except ValueError:
        raise Invalid(f"mode: {quoted(text)} is not a mode; modes are {', '.join(PoolMode)}.") from None


def unallocated_connections(cluster: Cluster, *, ignoring: str | None = None) -> tuple[int, int]:
    """Return how many backend connections are unallocated, ignoring one pool, and the total for pools."""
    capacity = configuration.pool_capacity(cluster)
    allocated = sum(pool.size for pool in cluster.pools if pool.name != ignoring)
    return max(0, capacity - allocated), capacity


def add_pool(cluster: Cluster, pool: Pool, seen: NodeStatus | None = None) -> Cluster:
    """Add a pool; its database and user may be such as SQL made, as far as ``seen`` tells."""
    pool_name(pool.name)
    if cluster.pool(pool.name) is not None:
        raise Invalid("pool name is not available")
    if len(cluster.pools) >= MAX_POOLS:
        raise Invalid(f"a cluster has at most {MAX_POOLS} pools, and this one has {len(cluster.pools)}.")
    _fits(cluster, pool, seen)
    return replace(cluster, pools=(*cluster.pools, pool))


def change_pool(
    cluster: Cluster,
    name: str,
    *,
    size: int,
    mode: PoolMode,
    database: str,
    user: str | None,
    seen: NodeStatus | None = None,
) -> Cluster:
    """Change a pool; with None its user stays."""
    before = cluster.pool(name)
    if before is None:
        raise NotFound
    after = replace(
        before, size=size, mode=mode, database=database, user=before.user if user is None else user
    )
    _fits(cluster, after, seen)
    return replace(cluster, pools=tuple(after if pool is before else pool for pool in cluster.pools))


def reconnect_pool(cluster: Cluster, name: str) -> Cluster:
    """Ask for the replacement of a pool's server connections."""
    before = cluster.pool(name)
    if before is None:
        raise NotFound
    after = replace(before, reconnects=before.reconnects + 1)
    return replace(cluster, pools=tuple(after if pool is before else pool for pool in cluster.pools))


def remove_pool(cluster: Cluster, name: str) -> Cluster:
    if cluster.pool(name) is None:
        raise NotFound
    return replace(cluster, pools=tuple(pool for pool in cluster.pools if pool.name != name))


def _fits(cluster: Cluster, pool: Pool, seen: NodeStatus | None) -> None:
    left, capacity = unallocated_connections(cluster, ignoring=pool.name)
    if pool.size < 1:
        raise Invalid(f"size: a pool has at least 1 connection, not {pool.size}.")
    if pool.size > left:
        before = cluster.pool(pool.name)
        # The number that all answers and pages have as left; what the pool itself has is not part of it.
        left, _ = unallocated_connections(cluster)
        own = "" if before is None else f", besides the {before.size} of this pool"
        raise Invalid(
            f"size: {pool.size} is too large: {left} of {capacity} connections are left for pools on this "
            f"cluster, whose size is {cluster.size}{own}."
        )
    before, found = cluster.pool(pool.name), sql_changes.of(seen)
    # What a pool has already may have been dropped by SQL since; its size can be changed all the same.
    if before is None or pool.database != before.database:
        _is_there("db", "database", pool.database, _gone_database(cluster, pool.database, found))
    if pool.user and (before is None or pool.user != before.user):
        _is_there("user", "user", pool.user, _gone_user(cluster, pool.user, found))


def _is_there(field: str, kind: str, name: str, gone: str | None) -> None:
    if gone is None:
        raise Invalid(f"{field}: there is no {kind} {quoted(name)} on this cluster.")
    if gone:
        raise Invalid(f"{field}: {kind} {quoted(name)} {gone}.")


def _gone_database(cluster: Cluster, name: str, found: BySql) -> str | None:
    """Return how it went by SQL, "" if it is there, None if there never was one."""
    database = sql_changes.database(cluster, name, found)
    if database is None:
        return None
    seen = sql_changes.database_of(database, found)
    return "" if seen is None else seen.gone


def _gone_user(cluster: Cluster, name: str, found: BySql) -> str | None:
    user = sql_changes.user(cluster, name, found)
    if user is None:
        return None
    role = sql_changes.role_of(user, found)
    return "" if role is None else role.gone
