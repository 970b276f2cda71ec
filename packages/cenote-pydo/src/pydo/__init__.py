"""Drop-in replacement for the official pydo's ``databases`` group, based on ``cenote_client``.


from pydo import Client

client = Client(token=os.environ["DIGITALOCEAN_TOKEN"])
client.databases.get_connection_pool(database_cluster_uuid="9cc10173-…", pool_name="backend-pool")
"""

from ._options import VERSION
from ._sync.client import Client

__version__ = VERSION

__all__ = ["Client"]
