"""Every record, in etcd: the private server, the client, the cache that is read from, and the queries.

Reading is synchronous and costs no I/O; writing is a transaction that compares what it was decided on.
"""

from cenote.store.client import EtcdClient
from cenote.store.process import PrivateEtcd
from cenote.store.store import NameTaken, PortTaken, Store
from cenote.store.subscription import Changes
from cenote.store.tables import Stored

__all__ = ["Changes", "EtcdClient", "NameTaken", "PortTaken", "PrivateEtcd", "Store", "Stored"]
