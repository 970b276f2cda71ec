"""Every record, in etcd: the private server, the client, the cache that is read from, and the queries.

Reading is synchronous and costs no I/O; writing is a transaction that compares what it was decided on.
"""

from cenote.store.changes import Changes
from cenote.store.gateway import Gateway
from cenote.store.sealing import Sealer
from cenote.store.server import PrivateEtcd
from cenote.store.store import NameTaken, PortTaken, Store
from cenote.store.tables import Stored

__all__ = ["Changes", "Gateway", "NameTaken", "PortTaken", "PrivateEtcd", "Sealer", "Store", "Stored"]
