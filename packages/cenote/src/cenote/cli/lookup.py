"""Clusters, projects and other resources, looked up by name or ID."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

from cenote.cli.plain_requests import listed, path
from cenote.cli.printer import CommandError
from cenote_client import NotFoundError

if TYPE_CHECKING:
    from cenote_client import Client
    from cenote_client._sync.databases_api import DatabasesAPI
    from cenote_client.types import Cluster, Host


def is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def find_cluster(client: Client, name_or_id: str) -> Cluster:
    """Return the cluster with this name or ID, or raise CommandError.

    CLUSTER/REPLICA is a read replica, which has its name beside its cluster's.
    """
    source, _, replica = name_or_id.partition("/")
    if replica:
        return _find_replica(client, find_cluster(client, source), replica)
    if is_uuid(name_or_id):
        with suppress(NotFoundError):  # a name may look like an ID
            return client.databases.get_cluster(name_or_id)["database"]
    for cluster in client.databases.iter_clusters():
        if cluster["name"] == name_or_id:
            return cluster
    raise CommandError(f"cluster {name_or_id!r} not found; list clusters with 'cenote cluster list'")


def _find_replica(client: Client, source: Cluster, name: str) -> Cluster:
    try:
        id = client.databases.get_replica(source["id"], name)["replica"]["id"]
    except NotFoundError:
        raise CommandError(
            f"replica {name!r} not found; list replicas with 'cenote replica list {source['name']}'"
        ) from None
    return client.databases.get_cluster(id)["database"]


def find_project(client: Client, name_or_id: str) -> Any:
    """Return the project with this name or ID, ``default`` for the default one; else raise CommandError."""
    return _find(client, "/v2/projects", "projects", "project", name_or_id, also="default")


def find_vpc(client: Client, name_or_id: str) -> Any:
    """Return the VPC with this name or ID, or raise CommandError."""
    return _find(client, "/v2/vpcs", "vpcs", "vpc", name_or_id)


def _find(client: Client, where: str, key: str, kind: str, name_or_id: str, also: str = "") -> Any:
    if is_uuid(name_or_id) or (also and name_or_id == also):
        with suppress(NotFoundError):
            return client.request("GET", path(where + "/{}", name_or_id))[kind]
    for found in listed(client, where, key):
        if found["name"] == name_or_id:
            return found
    raise CommandError(f"{kind} {name_or_id!r} not found; list them with 'cenote {kind} list'")


def find_host(client: Client, name_or_id: str) -> Host:
    """Return the host with this name or ID, or raise CommandError."""
    for host in client.cenote.list_hosts()["hosts"]:
        if name_or_id in (host["name"], host["id"]):
            return host
    raise CommandError(f"host {name_or_id!r} not found; list hosts with 'cenote host list'")


def find_sink(databases: DatabasesAPI, uuid: str, name_or_id: str) -> Any:
    """Return the log sink of a cluster with this name or ID, or raise CommandError."""
    for sink in databases.list_logsink(uuid)["sinks"]:
        if name_or_id in (sink["sink_id"], sink["sink_name"]):
            return sink
    raise CommandError(f"log sink {name_or_id!r} not found; list them with 'cenote logsink list'")


def cluster_now(client: Client, id: str) -> Any:
    """Return a cluster as it is now."""
    return client.databases.get_cluster(id)["database"]
