"""Waits until a cluster is online, showing its status and reason on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cenote.cli.progress import Progress

if TYPE_CHECKING:
    from cenote_client import Client
    from cenote_client.types import Cluster

WAIT_SECONDS = 1800.0


def wait_until_online(client: Client, uuid: str) -> Cluster:
    """Wait until a cluster is online, showing why it is not online yet."""
    with Progress() as progress:
        return client.databases.wait_until_online(
            uuid, timeout=WAIT_SECONDS, progress=lambda cluster, _: progress.show(status_of(cluster))
        )


def status_of(cluster: Any) -> str:
    """Return in a line how a cluster or a read replica is, and why."""
    progress = cluster.get("cenote") or {}
    reason, health = progress.get("reason", ""), progress.get("health", "")
    status = f"{cluster['name']} is {cluster['status']}"
    # What is waited for with an online cluster is that its server works.
    status += f", {health}" if health and cluster["status"] == "online" else ""
    return status + (f": {reason}" if reason else "")
