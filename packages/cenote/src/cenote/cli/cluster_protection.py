"""``cenote cluster protect`` and ``unprotect``: the protection of a cluster from deletion."""

from __future__ import annotations

import click

from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.lookup import find_cluster
from cenote.cli.printer import Printer, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout


@click.command()
@cluster_argument
@output_options
def protect(layout: Layout, printer: Printer, cluster: str) -> None:
    """Protect a cluster from deletion, until 'cenote cluster unprotect'."""
    _set(layout, printer, cluster, enabled=True)


@click.command()
@cluster_argument
@output_options
def unprotect(layout: Layout, printer: Printer, cluster: str) -> None:
    """Allow the deletion of a cluster again."""
    _set(layout, printer, cluster, enabled=False)


def _set(layout: Layout, printer: Printer, cluster: str, *, enabled: bool) -> None:
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        client.databases.update_delete_protection(found["id"], {"enabled": enabled})
        words = "is protected from deletion" if enabled else "can be deleted"
        printer.done(
            f"Cluster {found['name']} {words}", client.databases.get_cluster(found["id"])["database"], {}
        )
