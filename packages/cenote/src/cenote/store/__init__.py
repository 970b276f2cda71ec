"""All records, in etcd: the private server, the client, the watch cache, queries and changes.

Reads are synchronous and served from the cache; a write is a transaction on what it was decided on.
"""

from cenote.store.client import EtcdClient
from cenote.store.host_store import HostStore
from cenote.store.process import PrivateEtcd
from cenote.store.store import NameTaken, PortTaken, Store
from cenote.store.subscription import Changes
from cenote.store.tables import Stored

__all__ = ["Changes", "EtcdClient", "HostStore", "NameTaken", "PortTaken", "PrivateEtcd", "Store", "Stored"]
