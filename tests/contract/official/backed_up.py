"""A cluster with a first backup, made with the official pydo; prints both as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from azure.core.exceptions import HttpResponseError

from pydo import Client

SECONDS = 120
NONE_YET = 412

client = Client(
    token=os.environ["DIGITALOCEAN_TOKEN"],
    endpoint=os.environ["DIGITALOCEAN_API_URL"],
    connection_verify=sys.argv[1],
)
body = {"name": "backend", "engine": "pg", "num_nodes": 1, "region": "nyc1", "size": "db-s-1vcpu-1gb"}
cluster: Any = client.databases.create_cluster(body=body)["database"]
deadline = time.monotonic() + SECONDS
backups: Any = {}
while "backups" not in backups:
    assert time.monotonic() < deadline, "there is no backup"
    try:
        backups = client.databases.list_backups(cluster["id"])
    except HttpResponseError as error:
        if error.status_code != NONE_YET:
            raise
    time.sleep(0.2)
while cluster["status"] != "online":
    assert time.monotonic() < deadline, "the cluster does not come online"
    cluster = client.databases.get_cluster(cluster["id"])["database"]
print(json.dumps({"cluster": cluster, "backups": backups}))
