"""A migration of one cluster into another with the official pydo, to its end; prints its answers as JSON."""

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
databases = client.databases


def online(name: str) -> Any:
    fields = {"engine": "pg", "num_nodes": 1, "region": "nyc1", "size": "db-s-1vcpu-1gb"}
    cluster = databases.create_cluster(body={"name": name, **fields})["database"]
    deadline = time.monotonic() + SECONDS
    while cluster["status"] != "online":
        assert time.monotonic() < deadline, "the cluster does not come online"
        time.sleep(0.2)
        cluster = databases.get_cluster(cluster["id"])["database"]
    return cluster


def reached(status: str) -> Any:
    deadline = time.monotonic() + SECONDS
    while True:
        migration = databases.get_migration_status(target["id"])
        if migration["status"] == status:
            return migration
        assert time.monotonic() < deadline, migration
        time.sleep(0.2)


source, target = online("former"), online("present")
databases.add(source["id"], body={"name": "orders"})
login = source["connection"]
body = {
    "source": {
        "host": login["host"],
        "port": login["port"],
        "dbname": "defaultdb",
        "username": login["user"],
        "password": login["password"],
    },
    "disable_ssl": False,
}
told: dict[str, Any] = {"started": databases.update_online_migration(target["id"], body=body)}
told["syncing"] = reached("syncing")
told["stopped"] = databases.delete_online_migration(target["id"], told["started"]["id"])
told["done"] = reached("done")
deadline = time.monotonic() + SECONDS
while "orders" not in [one["name"] for one in databases.list(target["id"])["dbs"]]:
    assert time.monotonic() < deadline, "the database is not listed"
    time.sleep(0.2)
print(json.dumps(told))
