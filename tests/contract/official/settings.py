"""What the official client sets of a cluster, from its size to its log sinks; prints all answers as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from azure.core.exceptions import HttpResponseError

from pydo import Client

client = Client(
    token=os.environ["DIGITALOCEAN_TOKEN"],
    endpoint=os.environ["DIGITALOCEAN_API_URL"],
    connection_verify=sys.argv[1],
)
databases = client.databases
told: dict[str, Any] = {}


def online() -> None:
    while databases.get_cluster(id)["database"]["status"] != "online":
        time.sleep(0.2)


def upgraded(version: str) -> str:
    """Return why the cluster is not upgraded."""
    try:
        databases.update_major_version(id, body={"version": version})
    except HttpResponseError as error:
        return str(error.message)
    return ""


fields = {"engine": "pg", "num_nodes": 1, "region": "nyc1", "size": "db-s-1vcpu-1gb"}
cluster = databases.create_cluster(body={"name": "settings", **fields})["database"]
id = cluster["id"]
online()

told["credentials"] = databases.get_cluster_metrics_credentials()
login = {"basic_auth_username": "scraper", "basic_auth_password": "a-password-of-metrics"}
told["credentials updated"] = databases.update_cluster_metrics_credentials(body={"credentials": login})
told["credentials then"] = databases.get_cluster_metrics_credentials()

storage = {"storage": {"enabled": True, "threshold_percent": 80, "increment_gib": 10}}
told["autoscale updated"] = databases.update_autoscale(id, body=storage)
told["autoscale"] = databases.get_autoscale(id)

told["config patched"] = databases.patch_config(id, body={"config": {"work_mem": 8}})
told["config"] = databases.get_config(id)
told["do settings"] = databases.get_do_settings(id)
told["do settings updated"] = databases.update_do_settings(id, body={"service_cnames": ["db.example.com"]})

rules = [{"type": "ip_addr", "value": "127.0.0.1"}]
told["firewall updated"] = databases.update_firewall_rules(id, body={"rules": rules})
told["firewall"] = databases.list_firewall_rules(id)

told["window updated"] = databases.update_maintenance_window(id, body={"day": "sunday", "hour": "03:00"})
told["update installed"] = databases.install_update(id)

sink = {"server": "logs.example.com", "port": 6514, "tls": True, "format": "rfc5424"}
told["sink"] = databases.create_logsink(
    id, body={"sink_name": "logs", "sink_type": "rsyslog", "config": sink}
)
sink_id = databases.list_logsink(id)["sinks"][0]["sink_id"]
told["sink updated"] = databases.update_logsink(id, sink_id, body={"config": sink | {"port": 6515}})
told["sink then"] = databases.get_logsink(id, sink_id)
told["sink deleted"] = databases.delete_logsink(id, sink_id)
told["sinks"] = databases.list_logsink(id)

told["region updated"] = databases.update_region(id, body={"region": "fra1"})
told["resized"] = databases.update_cluster_size(id, body={"size": "db-s-1vcpu-2gb", "num_nodes": 1})
online()
told["not upgraded"] = upgraded(cluster["version"])
told["events"] = databases.list_events_logs(id)
told["cluster"] = databases.get_cluster(id)

print(json.dumps(told))
