"""A cluster of two nodes with a pool and replicas, by the official pydo; prints its answers as JSON."""

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


def online_replica(id: str, name: str) -> Any:
    deadline = time.monotonic() + SECONDS
    while True:
        replica = client.databases.get_replica(id, name)["replica"]
        if replica["status"] == "online":
            return replica
        assert time.monotonic() < deadline, "the replica does not come online"
        time.sleep(0.2)


def gone(id: str, name: str) -> None:
    """Wait until a replica is a cluster of its own."""
    deadline = time.monotonic() + SECONDS
    while True:
        if "replica" not in client.databases.get_replica(id, name):  # its 404 is an answer, too
            return
        assert time.monotonic() < deadline, "the replica is not promoted"
        time.sleep(0.2)


size = "db-s-1vcpu-1gb"
body = {"name": "pair", "engine": "pg", "num_nodes": 2, "region": "nyc1", "size": size}
told: dict[str, Any] = {"created": client.databases.create_cluster(body=body)}
id = told["created"]["database"]["id"]
told["cluster"] = online(id)
pool = {"name": "pair-pool", "user": "doadmin", "size": 5, "db": "defaultdb", "mode": "transaction"}
client.databases.add_connection_pool(id, body=pool)
told["pool"] = client.databases.get_connection_pool(id, "pair-pool")["pool"]
replica = {"name": "taken", "region": "fra1", "size": size, "tags": ["reads"]}
told["replica"] = client.databases.create_replica(id, body=replica)["replica"]
client.databases.promote_replica(id, "taken")  # while it is still being made
client.databases.create_replica(id, body={"name": "reads", "region": "nyc1", "size": size})
told["online replica"] = online_replica(id, "reads")
client.databases.update_cluster_size(
    told["online replica"]["id"], body={"size": "db-s-1vcpu-2gb", "num_nodes": 1}
)
told["replicas"] = [one["name"] for one in client.databases.list_replicas(id)["replicas"]]
told["replica's pool"] = client.databases.add_connection_pool(
    told["online replica"]["id"], body=pool | {"name": "reading"}
)["pool"]
gone(id, "taken")
told["promoted"] = online(told["replica"]["id"])
print(json.dumps(told))
