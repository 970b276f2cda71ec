"""Clusters by name or id, on the command line and in the shell's completion."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from cenote import programs
from cenote.cli.options import data_dir
from cenote.cli.output import Refused
from cenote.cli.reach import client_for
from cenote.layout import Layout

if TYPE_CHECKING:
    from cenote_client import Client
    from cenote_client.types import Cluster

F = TypeVar("F", bound=Callable[..., Any])


def cluster_argument(function: F) -> F:
    """Add ``--data-dir`` and the argument CLUSTER, a name or an id."""
    return data_dir(click.argument("cluster", metavar="CLUSTER", shell_complete=_complete)(function))


def cluster_of(client: Client, name_or_id: str) -> Cluster:
    """Return the cluster of this name or id."""
    for cluster in client.databases.iter_clusters():
        if name_or_id in (cluster["name"], cluster["id"]):
            return cluster
    raise Refused(f"there is no cluster {name_or_id!r}; 'cenote cluster list' shows all")


def _complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    layout = context.params.get("layout") or Layout(programs.default_data_dir())
    try:
        with context.scope(), client_for(layout) as client:
            names = [cluster["name"] for cluster in client.databases.iter_clusters()]
    except Exception:
        return []
    return [CompletionItem(name) for name in names if name.startswith(begun)]
