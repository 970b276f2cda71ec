"""The argument CLUSTER, completed in the shell, and the operations on the cluster that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cenote.cli import suggestions
from cenote.cli.data_dir import data_dir
from cenote.cli.lookup import find_cluster
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client._sync.databases_api import DatabasesAPI

F = TypeVar("F", bound=Callable[..., Any])


def cluster_argument(function: F) -> F:
    """Add ``--data-dir`` and the argument CLUSTER, a name or an ID."""
    argument = click.argument("cluster", metavar="CLUSTER", shell_complete=suggestions.clusters)
    return data_dir(argument(function))


def optional_cluster_argument(function: F) -> F:
    """Add ``--data-dir`` and an optional CLUSTER; without it the command applies to all clusters."""
    argument = click.argument(
        "cluster", metavar="[CLUSTER]", required=False, shell_complete=suggestions.clusters
    )
    return data_dir(argument(function))


@contextmanager
def cluster_api(layout: Layout, name_or_id: str) -> Iterator[tuple[DatabasesAPI, str]]:
    """Open a client; yield its database operations and the ID of the cluster with this name or ID."""
    with client_for(layout) as client:
        yield client.databases, find_cluster(client, name_or_id)["id"]
