"""``cenote audit``: the audit log of the service or of one cluster."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cenote.cli import tail
from cenote.cli.cluster_argument import find_cluster, is_uuid, optional_cluster_argument
from cenote.cli.printer import Item, Printer, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

COLUMNS = {
    "WHEN": "at",
    "WHO": "who",
    "FROM": "address",
    "REFUSED": "refused",
    "COUNT": "count",
    "WHAT": "what",
}


@click.command()
@optional_cluster_argument
@output_options
@tail.tail_options
def command(layout: Layout, printer: Printer, cluster: str | None, lines: int, follow: bool) -> None:
    """Show the audit log: changes, and rejected requests with their status codes.

    Without CLUSTER, show all clusters; give a deleted cluster by its ID.  Requires a token with the scope
    cenote:admin.
    """
    with client_for(layout) as client:
        uuid = cluster if cluster is None or is_uuid(cluster) else find_cluster(client, cluster)["id"]

        def newest(count: int) -> Sequence[Item]:
            entries = client.cenote.list_audit(cluster_uuid=uuid, per_page=count)["entries"]
            return [{**entry, "who": _who(entry)} for entry in entries]

        tail.show(newest, printer, COLUMNS, lines, follow)


def _who(entry: Item) -> str:
    if entry["token"] is not None:
        return str(entry["token"]["name"])
    return "unknown" if entry["refused"] else "cenote"
