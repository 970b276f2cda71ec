"""``cenote cluster protect``, ``unprotect`` and ``undelete-days``: what comes of a deletion of a cluster."""

from __future__ import annotations

from typing import Any

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


class _Days(click.IntRange):
    """A number of days, or ``default``: None."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return [None] if value == "default" else [super().convert(value, param, ctx)]


@click.command("undelete-days")
@cluster_argument
@click.argument("days", metavar="{DAYS|default}", type=_Days(0, 3650))
@output_options
def undelete_days(layout: Layout, printer: Printer, cluster: str, days: list[int | None]) -> None:
    """Set for how many days a cluster can be undeleted once it is deleted.

    0: it is removed at once then; default: as --undelete-days of 'cenote serve' says.
    """
    [chosen] = days
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        client.databases.update_undelete_days(found["id"], {"days": chosen})
        words = f"for {chosen} day{'s' * (chosen != 1)}" if chosen else "as long as the service says"
        can = "cannot be undeleted" if chosen == 0 else f"can be undeleted {words}"
        printer.done(
            f"Once it is deleted, cluster {found['name']} {can}",
            client.databases.get_cluster(found["id"])["database"],
            {},
        )


def _set(layout: Layout, printer: Printer, cluster: str, *, enabled: bool) -> None:
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        client.databases.update_delete_protection(found["id"], {"enabled": enabled})
        words = "is protected from deletion" if enabled else "can be deleted"
        printer.done(
            f"Cluster {found['name']} {words}", client.databases.get_cluster(found["id"])["database"], {}
        )
