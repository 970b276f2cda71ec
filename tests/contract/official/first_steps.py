"""What somebody who has just started Cenote does with the official pydo; prints every answer as JSON.

Takes the CA's file as argument and the rest from the environment, as the README's example does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from pydo import Client

ONLINE_SECONDS = 60

client = Client(
    token=os.environ["DIGITALOCEAN_TOKEN"],
    endpoint=os.environ["DIGITALOCEAN_API_URL"],
    connection_verify=sys.argv[1],
)
databases = client.databases
told: dict[str, Any] = {"options": databases.list_options()}

told["created"] = databases.create_cluster(
    body={
        "name": "backend",
        "engine": "pg",
        "num_nodes": 1,
        "region": "nyc1",
        "size": "db-s-1vcpu-1gb",
        "tags": ["production"],
    }
)
uuid = told["created"]["database"]["id"]
deadline = time.monotonic() + ONLINE_SECONDS
while databases.get_cluster(uuid)["database"]["status"] != "online":
    assert time.monotonic() < deadline, "the cluster does not come online"
    time.sleep(0.1)
told["cluster"] = databases.get_cluster(uuid)
told["listed"] = databases.list_clusters()
told["tagged"] = databases.list_clusters(tag_name="production")
told["tagged otherwise"] = databases.list_clusters(tag_name="staging")
told["ca"] = databases.get_ca(uuid)

told["database added"] = databases.add(uuid, body={"name": "orders"})
told["database"] = databases.get(uuid, "orders")
told["databases"] = databases.list(uuid)
told["user added"] = databases.add_user(uuid, body={"name": "app"})
told["user"] = databases.get_user(uuid, "app")
told["users"] = databases.list_users(uuid)
told["user updated"] = databases.update_user(uuid, "app", body={"settings": {}})
told["user reset"] = databases.reset_auth(uuid, "app", body={})

told["pool added"] = databases.add_connection_pool(
    uuid,
    body={"name": "backend-pool", "mode": "transaction", "size": 2, "db": "defaultdb", "user": "doadmin"},
)
told["pool"] = databases.get_connection_pool(database_cluster_uuid=uuid, pool_name="backend-pool")
told["inbound pool added"] = databases.add_connection_pool(
    uuid, body={"name": "inbound", "mode": "session", "size": 1, "db": "orders"}
)
told["pools"] = databases.list_connection_pools(uuid)
told["pool updated"] = databases.update_connection_pool(
    uuid, "inbound", body={"mode": "transaction", "size": 3, "db": "orders"}
)
told["pool after the update"] = databases.get_connection_pool(uuid, "inbound")

databases.add_connection_pool(uuid, body={"name": "passing", "mode": "session", "size": 1, "db": "orders"})
databases.add_user(uuid, body={"name": "passer"})
databases.add(uuid, body={"name": "passage"})
told["pool deleted"] = databases.delete_connection_pool(uuid, "passing")
told["user deleted"] = databases.delete_user(uuid, "passer")
told["database deleted"] = databases.delete(uuid, "passage")
told["pool that was deleted"] = databases.get_connection_pool(uuid, "passing")

passing = {"name": "passing", "engine": "pg", "num_nodes": 1, "region": "nyc1", "size": "db-s-1vcpu-1gb"}
gone = databases.create_cluster(body=passing)["database"]["id"]
told["cluster deleted"] = databases.destroy_cluster(gone)
told["cluster that was deleted"] = databases.get_cluster(gone)

print(json.dumps(told))
