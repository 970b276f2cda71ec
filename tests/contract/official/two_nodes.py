"""A cluster of two nodes with a pool, made with the official pydo; prints its answers as JSON."""

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


size = "db-s-1vcpu-1gb"
body = {"name": "pair", "engine": "pg", "num_nodes": 2, "region": "nyc1", "size": size}
told: dict[str, Any] = {"created": client.databases.create_cluster(body=body)}
id = told["created"]["database"]["id"]
told["cluster"] = online(id)
pool = {"name": "pair-pool", "user": "doadmin", "size": 5, "db": "defaultdb", "mode": "transaction"}
client.databases.add_connection_pool(id, body=pool)
told["pool"] = client.databases.get_connection_pool(id, "pair-pool")["pool"]
print(json.dumps(told))
