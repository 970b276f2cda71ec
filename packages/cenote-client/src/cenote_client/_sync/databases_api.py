# Generated from _async/databases_api.py by tools/unasync.py; edit that file.

"""``client.databases``: all resources in one class, because pydo has them in one."""

from __future__ import annotations

from .backups import Backups
from .clusters import Clusters
from .databases import Databases
from .events import Events
from .logs import Logs
from .online_migration import OnlineMigration
from .other_engines import OtherEngines
from .pool_stats import PoolStats
from .pools import Pools
from .replicas import Replicas
from .settings import Settings
from .users import Users


class DatabasesAPI(
    Clusters,
    Settings,
    Backups,
    OnlineMigration,
    Events,
    Users,
    Databases,
    Pools,
    Replicas,
    Logs,
    PoolStats,
    OtherEngines,
):
    """The operations of the Databases API.

    Each method also takes ``headers=``, ``params=`` and ``timeout=``, which apply to that call only.
    """
