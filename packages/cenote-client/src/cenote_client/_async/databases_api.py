"""``client.databases``: all operations in one place, as the reference and pydo have them."""

from __future__ import annotations

from .backups import AsyncBackups
from .clusters import AsyncClusters
from .databases import AsyncDatabases
from .log_sinks import AsyncLogSinks
from .logs import AsyncLogs
from .other_engines import AsyncOtherEngines
from .pool_stats import AsyncPoolStats
from .pools import AsyncPools
from .replicas import AsyncReplicas
from .settings import AsyncSettings
from .users import AsyncUsers


class AsyncDatabasesAPI(
    AsyncClusters,
    AsyncSettings,
    AsyncBackups,
    AsyncUsers,
    AsyncDatabases,
    AsyncPools,
    AsyncReplicas,
    AsyncLogSinks,
    AsyncLogs,
    AsyncPoolStats,
    AsyncOtherEngines,
):
    """The operations of the Databases API; each takes ``headers=``, ``params=`` and ``timeout=`` for that
    call.
    """
