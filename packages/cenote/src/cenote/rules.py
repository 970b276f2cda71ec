"""What is allowed: names, numbers, and which change fits which cluster.

Pure functions.  A check raises ``Invalid`` with a message that names the field and says what would be
allowed; a change returns the new record.  Names reach configuration files and SQL: only characters that can
do no harm there are let in, and what writes them quotes them all the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from uuid import UUID

from msgspec.structs import replace

from cenote import catalog, configuration, storage
from cenote.catalog import Size
from cenote.domain import (
    ADMIN_USER,
    DEFAULT_DATABASE,
    ENGINE,
    Access,
    Cluster,
    ClusterStatus,
    Database,
    NodeStatus,
    Pool,
    PoolMode,
    User,
)
from cenote.errors import Invalid, NotFound

NOT_FOR_THIS_ENGINE = "operation is not supported for this cluster type"

MOST_POOLS = 21
MOST_USERS = 1_000  # the whole cluster is one record, and etcd takes no record over 1.5 MiB
MOST_DATABASES = 1_000
MOST_TAGS = 100
MOST_SERVICE_NAMES = 16

_OTHER_ENGINES = frozenset(
    {"mysql", "redis", "valkey", "mongodb", "kafka", "opensearch", "advanced_pg", "advanced_mysql"}
)
_RESERVED_POOLS = frozenset({"pgbouncer", "postgres", "template0", "template1"})
_RESERVED = _RESERVED_POOLS | {"cenote", "public", "none"}
_RESERVED_BEGINNINGS = ("pg_", "cenote_")
_HOST_BEGINNINGS = ("private-", "replica-")

_CLUSTER_NAME = re.compile(r"[a-z0-9][a-z0-9-]*[a-z0-9]")
_POOL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_SERVER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@$+-]*")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_TAG = re.compile(r"[A-Za-z0-9:_-]{1,255}")


# -- A cluster


def cluster_name(name: str, *, in_domain: bool) -> str:
    """Check a cluster's name, which is also the first label of its host names where there is a domain."""
    longest = 55 if in_domain else 63  # "private-" goes before it, and a label has at most 63 characters
    if not 3 <= len(name) <= longest:
        raise Invalid(f"name: a cluster's name has 3 to {longest} characters, this one has {len(name)}.")
    if not _CLUSTER_NAME.fullmatch(name):
        raise Invalid(
            "name: a cluster's name consists of lowercase letters, digits and hyphens, and begins and ends "
            "with a letter or a digit."
        )
    if in_domain and name.startswith(_HOST_BEGINNINGS):
        raise Invalid(
            f"name: a cluster's name may not begin with {_either(_HOST_BEGINNINGS)}; those make host names."
        )
    return name


def engine(name: str) -> None:
    if name == ENGINE:
        return
    if name in _OTHER_ENGINES:
        raise Invalid(NOT_FOR_THIS_ENGINE)
    raise Invalid(f"engine: {_shown(name)} is not known; the engine here is {ENGINE!r}.")


def version(asked: str | None, found: Collection[str]) -> str:
    """Return the major version to use; without one asked for, the newest found."""
    if not found:
        raise Invalid("version: no host has PostgreSQL installed, so no cluster can be made.")
    if not asked:
        return list(found)[-1]
    if asked not in found:
        raise Invalid(f"invalid cluster engine version {_shown(asked)}: the hosts have {', '.join(found)}.")
    return asked


def size(slug: str) -> Size:
    found = catalog.SIZES.get(slug)
    if found is None:
        raise Invalid(f"size: {_shown(slug)} is not a size; there are {', '.join(catalog.SIZES)}.")
    return found


def region(slug: str) -> str:
    if slug not in catalog.REGIONS:
        raise Invalid(f"region: {_shown(slug)} is not a region; there are {', '.join(catalog.REGIONS)}.")
    return slug


def num_nodes(number: int) -> None:
    if number != 1:
        raise Invalid(f"num_nodes: this version makes clusters of 1 node, not of {number}.")


def storage_mib(asked: int | None, size: Size) -> int:
    """Return the storage to note; a size brings its own, and it may be more."""
    if asked is None:
        return size.disk_mib
    if not size.disk_mib <= asked <= storage.MOST_MIB:
        raise Invalid(
            f"storage_size_mib: {asked} is not from {size.disk_mib}, which size {size.slug} brings, "
            f"to {storage.MOST_MIB}."
        )
    return asked


def tags(names: Iterable[str] | None) -> tuple[str, ...]:
    """Return the tags without repetition, in the order given."""
    distinct = tuple(dict.fromkeys(names or ()))
    if len(distinct) > MOST_TAGS:
        raise Invalid(f"tags: a cluster has at most {MOST_TAGS} tags, these are {len(distinct)}.")
    for name in distinct:
        if not _TAG.fullmatch(name):
            raise Invalid(
                f"tags: {_shown(name)} is not a tag; a tag has 1 to 255 letters, digits, colons, hyphens and "
                "underscores."
            )
    return distinct


def service_names(names: Iterable[str] | None) -> tuple[str, ...]:
    """Return a customer's own host names for a cluster, without repetition."""
    distinct = tuple(dict.fromkeys(name.lower() for name in names or ()))
    if len(distinct) > MOST_SERVICE_NAMES:
        raise Invalid(
            f"service_cnames: a cluster has at most {MOST_SERVICE_NAMES} names, these are {len(distinct)}."
        )
    for name in distinct:
        if len(name) > 253 or not _HOST_NAME.fullmatch(name):
            raise Invalid(f"service_cnames: {_shown(name)} is not a host name, such as 'db.example.com'.")
    return distinct


def optional_uuid(field: str, text: str | None) -> UUID | None:
    """Return the id in a field that clients also send as an empty text."""
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise Invalid(f"{field}: {_shown(text)} is not a UUID.") from None


def status(cluster: Cluster, seen: NodeStatus | None) -> ClusterStatus:
    """Return the status: online from the moment that the primary has worked once, and on its way while the
    primary has not been brought to what is wanted of it since."""
    if seen is None or not seen.reached:
        return ClusterStatus.CREATING
    if seen.size and (seen.size, seen.storage_mib) != (cluster.size, cluster.storage_mib):
        return ClusterStatus.RESIZING
    if seen.region and seen.region != cluster.region:
        return ClusterStatus.MIGRATING
    return ClusterStatus.ONLINE


def resize(cluster: Cluster, size: Size, storage_mib: int) -> Cluster:
    return replace(cluster, size=size.slug, storage_mib=storage_mib)


def migrate(cluster: Cluster, region: str, network_id: UUID | None) -> Cluster:
    """Move a cluster to another region, and to that one's network unless it is in a network of its own."""
    if network_id is None:
        was_default = cluster.private_network_id == catalog.default_network(cluster.region)
        network_id = catalog.default_network(region) if was_default else cluster.private_network_id
    return replace(cluster, region=region, private_network_id=network_id)


# -- Pools


def pool_name(name: str) -> str:
    """Check a pool's name.  PgBouncer does not start at all on a character that its parser does not take."""
    if not 3 <= len(name) <= 63:
        raise Invalid(f"name: a pool's name has 3 to 63 characters, this one has {len(name)}.")
    if not _POOL_NAME.fullmatch(name):
        raise Invalid(
            "name: a pool's name consists of ASCII letters, digits, underscores, hyphens and full stops, and "
            "begins with a letter, a digit or an underscore."
        )
    if name.lower() in _RESERVED_POOLS:
        raise Invalid(f"name: {name!r} is reserved and can't name a pool.")
    return name


def pool_mode(text: str) -> PoolMode:
    try:
        return PoolMode(text)
    except ValueError:
        raise Invalid(f"mode: {_shown(text)} is not a mode; there are {', '.join(PoolMode)}.") from None


def pool_room(cluster: Cluster, *, besides: str | None = None) -> tuple[int, int]:
    """Return how many backend connections are left for pools, and of how many, apart from one pool's own."""
    capacity = configuration.pool_capacity(cluster)
    taken = sum(pool.size for pool in cluster.pools if pool.name != besides)
    return max(0, capacity - taken), capacity


def add_pool(cluster: Cluster, pool: Pool) -> Cluster:
    pool_name(pool.name)
    if cluster.pool(pool.name) is not None:
        raise Invalid("pool name is not available")
    if len(cluster.pools) >= MOST_POOLS:
        raise Invalid(f"a cluster has at most {MOST_POOLS} pools, and this one has {len(cluster.pools)}.")
    _fits(cluster, pool)
    return replace(cluster, pools=(*cluster.pools, pool))


def change_pool(
    cluster: Cluster, name: str, *, size: int, mode: PoolMode, database: str, user: str | None
) -> Cluster:
    """Change a pool; a user of None leaves the one that it has."""
    before = cluster.pool(name)
    if before is None:
        raise NotFound
    after = replace(
        before, size=size, mode=mode, database=database, user=before.user if user is None else user
    )
    _fits(cluster, after)
    return replace(cluster, pools=tuple(after if pool is before else pool for pool in cluster.pools))


def remove_pool(cluster: Cluster, name: str) -> Cluster:
    if cluster.pool(name) is None:
        raise NotFound
    return replace(cluster, pools=tuple(pool for pool in cluster.pools if pool.name != name))


def _fits(cluster: Cluster, pool: Pool) -> None:
    left, capacity = pool_room(cluster, besides=pool.name)
    if pool.size < 1:
        raise Invalid(f"size: a pool has at least 1 connection, not {pool.size}.")
    if pool.size > left:
        raise Invalid(
            f"size: {pool.size} is too large: {left} of {capacity} connections are left for pools on this "
            f"cluster, whose size is {cluster.size}."
        )
    if cluster.database(pool.database) is None:
        raise Invalid(f"db: there is no database {_shown(pool.database)} on this cluster.")
    if pool.user and cluster.user(pool.user) is None:
        raise Invalid(f"user: there is no user {_shown(pool.user)} on this cluster.")


# -- Users


def user_name(name: str) -> str:
    return _server_name("user", name)


def add_user(cluster: Cluster, user: User) -> Cluster:
    user_name(user.name)
    if cluster.user(user.name) is not None:
        raise Invalid("user name is not available")
    if len(cluster.users) >= MOST_USERS:
        raise Invalid(f"a cluster has at most {MOST_USERS} users, and this one has {len(cluster.users)}.")
    return replace(cluster, users=(*cluster.users, user))


def change_password(cluster: Cluster, name: str, *, verifier: str, sealed_password: str) -> Cluster:
    before = cluster.user(name)
    if before is None:
        raise NotFound
    after = replace(before, verifier=verifier, sealed_password=sealed_password)
    return replace(cluster, users=tuple(after if user is before else user for user in cluster.users))


def access(text: str) -> Access:
    try:
        return Access(text)
    except ValueError:
        raise Invalid(f"cenote.access: {_shown(text)} is not one of {', '.join(Access)}.") from None


def change_user(
    cluster: Cluster, name: str, *, allow_replication: bool | None, access: Access | None, sets_access: bool
) -> Cluster:
    """Change what a user may do; a replication of None leaves it, and so does an access that is not set."""
    before = cluster.user(name)
    if before is None:
        raise NotFound
    if name == ADMIN_USER and allow_replication is False:
        raise Invalid(f"settings.pg_allow_replication: {ADMIN_USER!r} can always replicate.")
    if name == ADMIN_USER and access is not None:
        raise Invalid(f"cenote.access: {ADMIN_USER!r} takes no preset: it can grant itself what it needs.")
    after = replace(
        before,
        allow_replication=before.allow_replication if allow_replication is None else allow_replication,
        access=access if sets_access else before.access,
    )
    return replace(cluster, users=tuple(after if user is before else user for user in cluster.users))


def remove_user(cluster: Cluster, name: str) -> Cluster:
    if cluster.user(name) is None:
        raise NotFound
    if name == ADMIN_USER:
        raise Invalid(f"user {ADMIN_USER!r} can't be deleted: the cluster is managed through it.")
    _unused(f"user {name!r}", [pool.name for pool in cluster.pools if pool.user == name])
    return replace(
        cluster,
        users=tuple(user for user in cluster.users if user.name != name),
        # What a user owned is handed over to the administrator.
        databases=tuple(
            replace(database, owner="") if database.owner == name else database
            for database in cluster.databases
        ),
    )


# -- Databases


def database_name(name: str) -> str:
    return _server_name("database", name)


def add_database(cluster: Cluster, name: str, owner: str = "") -> Cluster:
    database_name(name)
    if owner and cluster.user(owner) is None:
        raise Invalid(f"cenote.owner: there is no user {_shown(owner)} on this cluster.")
    if cluster.database(name) is not None:
        raise Invalid("database name is not available")
    if len(cluster.databases) >= MOST_DATABASES:
        raise Invalid(
            f"a cluster has at most {MOST_DATABASES} databases, and this one has {len(cluster.databases)}."
        )
    return replace(cluster, databases=(*cluster.databases, Database(name=name, owner=owner)))


def remove_database(cluster: Cluster, name: str) -> Cluster:
    if cluster.database(name) is None:
        raise NotFound
    if name == DEFAULT_DATABASE:
        raise Invalid(f"database {DEFAULT_DATABASE!r} can't be deleted.")
    _unused(f"database {name!r}", [pool.name for pool in cluster.pools if pool.database == name])
    return replace(
        cluster, databases=tuple(database for database in cluster.databases if database.name != name)
    )


# -- Shared


def _server_name(kind: str, name: str) -> str:
    if not 1 <= len(name) <= 63:
        raise Invalid(f"name: a {kind}'s name has 1 to 63 characters, this one has {len(name)}.")
    if not _SERVER_NAME.fullmatch(name):
        raise Invalid(
            f"name: a {kind}'s name consists of ASCII letters, digits and the characters _ . @ $ + -, and "
            "begins with a letter, a digit or an underscore."
        )
    if name.lower() in _RESERVED or name.lower().startswith(_RESERVED_BEGINNINGS):
        raise Invalid(f"name: {name!r} is reserved and can't name a {kind}.")
    return name


def _unused(thing: str, pools: list[str]) -> None:
    if pools:
        raise Invalid(
            f"{thing} can't be deleted: {_plural(pools, 'pool uses', 'pools use')} it: {', '.join(pools)}."
        )


def _plural(things: list[str], one: str, more: str) -> str:
    return f"1 {one}" if len(things) == 1 else f"{len(things)} {more}"


def _either(words: Iterable[str]) -> str:
    return " or ".join(repr(word) for word in words)


def _shown(text: str) -> str:
    """Return what a customer sent, fit for a message: short, on one line, and in ASCII."""
    return ascii(text if len(text) <= 80 else f"{text[:80]}…")
