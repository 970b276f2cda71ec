"""What pydo's own integration tests call of VPCs, projects and tags; prints every answer as JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from pydo import Client

client = Client(
    token=os.environ["DIGITALOCEAN_TOKEN"],
    endpoint=os.environ["DIGITALOCEAN_API_URL"],
    connection_verify=sys.argv[1],
)
told: dict[str, Any] = {}

vpc = client.vpcs.create({"name": "inner", "description": "for the shop", "region": "nyc1"})["vpc"]
told["vpc"] = vpc
told["vpcs"] = client.vpcs.list()
told["vpc updated"] = client.vpcs.update(vpc["id"], body={"name": "outer"})
told["vpc patched"] = client.vpcs.patch(vpc["id"], body={"name": "middle"})
cluster = client.databases.create_cluster(
    body={
        "name": "backend",
        "engine": "pg",
        "num_nodes": 1,
        "region": "nyc1",
        "size": "db-s-1vcpu-1gb",
        "private_network_uuid": vpc["id"],
    }
)["database"]
told["cluster"] = cluster
told["members"] = client.vpcs.list_members(vpc["id"])
told["cluster deleted"] = client.databases.destroy_cluster(cluster["id"])
told["members without it"] = client.vpcs.list_members(vpc["id"])
told["vpc deleted"] = client.vpcs.delete(vpc["id"])

fields = {"description": "Test project", "purpose": "testing", "environment": "Development"}
project = client.projects.create(body={"name": "shop", **fields})["project"]
told["project"] = project
told["project updated"] = client.projects.update(
    project_id=project["id"], body={"name": "store", **fields, "is_default": False}
)
told["project patched"] = client.projects.patch(project_id=project["id"], body={"name": "market"})
told["project deleted"] = client.projects.delete(
    headers={"Content-Type": "application/json"}, project_id=project["id"]
)
told["default"] = client.projects.get_default()
told["default updated"] = client.projects.update_default(body={"name": "first", **fields, "is_default": True})
told["default patched"] = client.projects.patch_default(body={"name": "second"})
told["projects"] = client.projects.list()
told["default resources"] = client.projects.list_resources_default()

told["tag"] = client.tags.create({"name": "production"})
told["tag deleted"] = client.tags.delete("production")

print(json.dumps(told))
