"""A read replica of a cluster of two nodes, promoted at once, with the official pydo; prints its answers.

As pydo's own test does: nothing waits for the replica.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from pydo import Client

SECONDS = 120

client = Client(
    token=os.environ["DIGITALOCEAN_TOKEN"],
    endpoint=os.environ["DIGITALOCEAN_API_URL"],
    connection_verify=sys.argv[1],
)


def online(id: str) -> Any:
    deadline = time.monotonic() + SECONDS
    while True:
        cluster = client.databases.get_cluster(id)["database"]
        if cluster["status"] == "online":
            return cluster
        assert time.monotonic() < deadline, "the cluster does not come online"
        time.sleep(0.2)


nodes, size = int(os.environ["NODES"]), "db-s-1vcpu-1gb"
body = {"name": "origin", "engine": "pg", "num_nodes": nodes, "region": "nyc3", "size": size}
id = client.databases.create_cluster(body=body)["database"]["id"]
online(id)
wanted = {"name": "read-nyc3-01", "region": "nyc3", "size": size}
told: dict[str, Any] = {"created": client.databases.create_replica(id, body=wanted)}
told["listed"] = client.databases.list_replicas(id)
client.databases.create_replica(id, body=wanted | {"name": "passing"})
told["removed"] = client.databases.destroy_replica(id, "passing")
told["promoted"] = client.databases.promote_replica(id, "read-nyc3-01")
told["deleted"] = client.databases.destroy_cluster(id)
told["cluster"] = online(told["created"]["replica"]["id"])
told["left"] = [one["name"] for one in client.databases.list_clusters()["databases"]]
client.databases.destroy_cluster(told["cluster"]["id"])
print(json.dumps(told))
