"""``client.databases``: all resources in one class, because pydo has them in one."""

from __future__ import annotations

from .backups import AsyncBackups
from .clusters import AsyncClusters
from .databases import AsyncDatabases
from .events import AsyncEvents
from .logs import AsyncLogs
from .online_migration import AsyncOnlineMigration
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
    AsyncOnlineMigration,
    AsyncEvents,
    AsyncUsers,
    AsyncDatabases,
    AsyncPools,
    AsyncReplicas,
    AsyncLogs,
    AsyncPoolStats,
    AsyncOtherEngines,
):
    """The operations of the Databases API.

    Each method also takes ``headers=``, ``params=`` and ``timeout=``, which apply to that call only.
    """
