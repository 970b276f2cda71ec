"""``client.databases``: all operations in one place, as the reference and pydo have them."""

from __future__ import annotations

from .clusters import AsyncClusters
from .dbs import AsyncDbs
from .engines import AsyncEngines
from .history import AsyncHistory
from .kafka import AsyncKafka
from .logs import AsyncLogs
from .logsinks import AsyncLogsinks
from .past import AsyncPast
from .pools import AsyncPools
from .replicas import AsyncReplicas
from .settings import AsyncSettings
from .users import AsyncUsers


class AsyncDatabases(
    AsyncClusters,
    AsyncSettings,
    AsyncHistory,
    AsyncUsers,
    AsyncDbs,
    AsyncPools,
    AsyncReplicas,
    AsyncLogsinks,
    AsyncLogs,
    AsyncPast,
    AsyncKafka,
    AsyncEngines,
):
    """The operations of the Databases API; each takes ``headers=``, ``params=`` and ``timeout=`` for that
    call.
    """
