# Made from _async/databases.py by tools/unasync.py; change that one.

"""``client.databases``: all operations in one place, as the reference and pydo have them."""

from __future__ import annotations

from .clusters import Clusters
from .dbs import Dbs
from .engines import Engines
from .history import History
from .kafka import Kafka
from .logs import Logs
from .logsinks import Logsinks
from .past import Past
from .pools import Pools
from .replicas import Replicas
from .settings import Settings
from .users import Users


class Databases(
    Clusters,
    Settings,
    History,
    Users,
    Dbs,
    Pools,
    Replicas,
    Logsinks,
    Logs,
    Past,
    Kafka,
    Engines,
):
    """The operations of the Databases API; each takes ``headers=``, ``params=`` and ``timeout=`` for that
    call.
    """
