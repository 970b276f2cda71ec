"""Validation of requests: names, limits, and the changes a cluster allows.

Pure functions.  A check raises ``Invalid`` with a message that names the field and what is allowed; a change
returns the new record.  Names end up in configuration files and SQL: only harmless characters are accepted,
and the code that writes them quotes them all the same.
"""

from cenote.rules.clusters import (
    MAX_SERVICE_NAMES,
    MAX_TAGS,
    NOT_FOR_THIS_ENGINE,
    cluster_name,
    engine,
    migrate,
    num_nodes,
    optional_uuid,
    region,
    resize,
    service_names,
    size,
    storage_mib,
    tags,
    undelete_days,
    version,
)
from cenote.rules.databases import (
    MAX_DATABASES,
    add_database,
    database_name,
    remove_database,
)
from cenote.rules.pools import (
    MAX_POOLS,
    add_pool,
    change_pool,
    pool_mode,
    pool_name,
    reconnect_pool,
    remove_pool,
    unallocated_connections,
)
from cenote.rules.users import (
    MAX_USERS,
    access,
    add_user,
    change_password,
    change_user,
    remove_user,
    user_name,
)

__all__ = [
    "MAX_DATABASES",
    "MAX_POOLS",
    "MAX_SERVICE_NAMES",
    "MAX_TAGS",
    "MAX_USERS",
    "NOT_FOR_THIS_ENGINE",
    "access",
    "add_database",
    "add_pool",
    "add_user",
    "change_password",
    "change_pool",
    "change_user",
    "cluster_name",
    "database_name",
    "engine",
    "migrate",
    "num_nodes",
    "optional_uuid",
    "pool_mode",
    "pool_name",
    "reconnect_pool",
    "region",
    "remove_database",
    "remove_pool",
    "remove_user",
    "resize",
    "service_names",
    "size",
    "storage_mib",
    "tags",
    "unallocated_connections",
    "undelete_days",
    "user_name",
    "version",
]
