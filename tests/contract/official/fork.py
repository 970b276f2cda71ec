"""A fork to the moment that the variable AT has, made with the official pydo; prints its answers as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from azure.core.exceptions import HttpResponseError

from pydo import Client

SECONDS = 120

client = Client(
    token=os.environ["DIGITALOCEAN_TOKEN"],
    endpoint=os.environ["DIGITALOCEAN_API_URL"],
    connection_verify=sys.argv[1],
)
restore = {"database_name": "backend", "backup_created_at": os.environ["AT"]}
body = {"name": "rescued", "engine": "pg", "num_nodes": 1, "region": "nyc1", "size": "db-s-1vcpu-1gb"}
told: dict[str, Any] = {}
try:
    long_ago = restore | {"backup_created_at": "2020-01-01T00:00:00Z"}
    told["refused"] = client.databases.create_cluster(body=body | {"backup_restore": long_ago})
except HttpResponseError as error:
    answer: Any = error.response
    told["refused"] = answer.json()
told["created"] = client.databases.create_cluster(body=body | {"backup_restore": restore})
cluster: Any = told["created"]["database"]
deadline, seen = time.monotonic() + SECONDS, [cluster["status"]]
while cluster["status"] != "online":
    assert time.monotonic() < deadline, "the fork does not come online"
    time.sleep(0.1)
    cluster = client.databases.get_cluster(cluster["id"])["database"]
    seen.append(cluster["status"])
print(json.dumps(told | {"cluster": cluster, "seen": seen}))
