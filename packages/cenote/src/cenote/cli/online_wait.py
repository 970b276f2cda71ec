"""Waits until a cluster is online, showing its status and reason on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from cenote.cli.printer import note, prints_json

if TYPE_CHECKING:
    from cenote_client import Client
    from cenote_client.types import Cluster

WAIT_SECONDS = 1800.0


class StatusLine:
    """Shows the status on stderr: one updated line on a terminal, else a line per change."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty() and not prints_json()
        self._last = ""

    def __call__(self, cluster: Cluster, seconds: float) -> None:
        seen: Any = cluster
        progress = seen.get("cenote") or {}
        reason, health = progress.get("reason", ""), progress.get("health", "")
        status = f"{cluster['name']} is {cluster['status']}"
        # What is waited for with an online cluster is that its server works.
        status += f", {health}" if health and cluster["status"] == "online" else ""
        status += f": {reason}" if reason else ""
        if self._terminal:
            click.echo(f"\r\033[K{status} ({seconds:.0f} s)", err=True, nl=False)
        elif status != self._last:
            note(status)
        self._last = status

    def end(self) -> None:
        if self._terminal and self._last:
            click.echo("\r\033[K", err=True, nl=False)


def wait_until_online(client: Client, uuid: str) -> Cluster:
    """Wait until a cluster is online, showing why it is not online yet."""
    progress = StatusLine()
    try:
        return client.databases.wait_until_online(uuid, timeout=WAIT_SECONDS, progress=progress)
    finally:
        progress.end()
