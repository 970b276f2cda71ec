"""The argument CLUSTER: looked up by name or ID, and completed in the shell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import click
from click.shell_completion import CompletionItem

from cenote.cli.data_dir import data_dir
from cenote.cli.printer import CommandError
from cenote.cli.service_client import client_for
from cenote.host import programs
from cenote.model.paths import Layout
from cenote_client import NotFoundError

if TYPE_CHECKING:
    from cenote_client import Client
    from cenote_client._sync.databases_api import DatabasesAPI
    from cenote_client.types import Cluster

F = TypeVar("F", bound=Callable[..., Any])


def cluster_argument(function: F) -> F:
    """Add ``--data-dir`` and the argument CLUSTER, a name or an ID."""
    return data_dir(click.argument("cluster", metavar="CLUSTER", shell_complete=_complete)(function))


def optional_cluster_argument(function: F) -> F:
    """Add ``--data-dir`` and an optional CLUSTER; without it the command applies to all clusters."""
    argument = click.argument("cluster", metavar="[CLUSTER]", required=False, shell_complete=_complete)
    return data_dir(argument(function))


@contextmanager
def cluster_api(layout: Layout, name_or_id: str) -> Iterator[tuple[DatabasesAPI, str]]:
    """Open a client; yield its database operations and the ID of the cluster with this name or ID."""
    with client_for(layout) as client:
        yield client.databases, find_cluster(client, name_or_id)["id"]


def is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def find_cluster(client: Client, name_or_id: str) -> Cluster:
    """Return the cluster with this name or ID, or raise CommandError."""
    if is_uuid(name_or_id):
        with suppress(NotFoundError):  # a name may look like an ID
            return client.databases.get_cluster(name_or_id)["database"]
    for cluster in client.databases.iter_clusters():
        if cluster["name"] == name_or_id:
            return cluster
    raise CommandError(f"cluster {name_or_id!r} not found; list clusters with 'cenote cluster list'")


def _complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    layout = context.params.get("layout") or Layout(programs.default_data_dir())
    try:
        with context.scope(), client_for(layout) as client:
            names = [cluster["name"] for cluster in client.databases.iter_clusters()]
    except Exception:
        return []
    return [CompletionItem(name) for name in names if name.startswith(begun)]
