"""Waiting for a cluster, with the reason in words while it lasts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cenote_client import Client
    from cenote_client.types import Cluster

WAIT_SECONDS = 1800.0


class StatusLine:
    """Tells on stderr how far it is: one line that changes on a terminal, else a line for each news."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = ""

    def __call__(self, cluster: Cluster, seconds: float) -> None:
        seen: Any = cluster
        reason = (seen.get("cenote") or {}).get("reason", "")
        news = f"{cluster['name']} is {cluster['status']}" + (f": {reason}" if reason else "")
        if self._terminal:
            click.echo(f"\r\033[K{news} ({seconds:.0f} s)", err=True, nl=False)
        elif news != self._last:
            click.echo(news, err=True)
        self._last = news

    def end(self) -> None:
        if self._terminal and self._last:
            click.echo("\r\033[K", err=True, nl=False)


def wait_until_online(client: Client, uuid: str) -> Cluster:
    """Wait for a cluster while telling why it is not online yet."""
    progress = StatusLine()
    try:
        return client.databases.wait_until_online(uuid, timeout=WAIT_SECONDS, progress=progress)
    finally:
        progress.end()
