"""How the official pydo takes each refusal; prints, for each, what it raised or returned as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from azure.core.exceptions import HttpResponseError

from pydo import Client


def client_with(token: str) -> Client:
    # Without retries: pydo waits as long as a "retry-after" says, a minute for a spent burst.
    return Client(
        token=token,
        endpoint=os.environ["DIGITALOCEAN_API_URL"],
        connection_verify=sys.argv[1],
        retry_total=0,
    )


def outcome(call: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"returned": call()}
    except HttpResponseError as error:
        answer: Any = error.response
        return {
            "raised": type(error).__name__,
            "status": error.status_code,
            "body": answer.json(),
            "retry-after": answer.headers.get("retry-after"),
        }


client = client_with(os.environ["DIGITALOCEAN_TOKEN"])
databases = client.databases
cluster = {"name": "taken", "engine": "pg", "num_nodes": 1, "region": "nyc1", "size": "db-s-1vcpu-1gb"}
pool = {"name": "taken", "mode": "transaction", "size": 1, "db": "defaultdb"}
uuid = databases.create_cluster(body=cluster)["database"]["id"]
databases.add_connection_pool(uuid, body=pool)

calls: dict[str, Callable[[], Any]] = {
    "a bad token": lambda: client_with("cenote_v1_wrong").databases.list_clusters(),
    "an unknown cluster": lambda: databases.get_cluster("00000000-0000-4000-8000-000000000000"),
    "an id that is no UUID": lambda: databases.get_connection_pool("no-such-cluster", "no-such-pool"),
    "an unknown pool": lambda: databases.get_connection_pool(uuid, "no-such-pool"),
    "a cluster's name that is taken": lambda: databases.create_cluster(body=cluster),
    "a pool's name that is taken": lambda: databases.add_connection_pool(uuid, body=pool),
    "another engine": lambda: databases.create_cluster(body={**cluster, "name": "other", "engine": "mysql"}),
    "an operation of another engine": lambda: databases.list_kafka_topics(uuid),
}
told = {name: outcome(call) for name, call in calls.items()}
for _ in range(int(os.environ["BURST"])):
    told["a spent limit"] = outcome(databases.list_clusters)
print(json.dumps(told))
