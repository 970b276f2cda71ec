"""``cenote audit``: the audit log of the service or of one cluster."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cenote.cli import tail
from cenote.cli.cluster_argument import optional_cluster_argument
from cenote.cli.lookup import find_cluster, is_uuid
from cenote.cli.printer import Item, Printer, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

COLUMNS = {
    "WHEN": "at",
    "WHO": "who",
    "FROM": "address",
    "REFUSED": "refused",
    "COUNT": "count",
    "OUTCOME": "outcome",
    "WHAT": "what",
    "CHANGES": "changed",
}


@click.command()
@optional_cluster_argument
@output_options
@tail.tail_options
@click.option("--token", metavar="TOKEN", help="Only what this token has done, by its name or ID.")
@click.option("--search", metavar="TEXT", help="Only entries with this text in their request or changes.")
def command(
    layout: Layout,
    printer: Printer,
    cluster: str | None,
    lines: int,
    follow: bool,
    token: str | None,
    search: str | None,
) -> None:
    """Show the audit log: changes, and rejected requests with their status codes.

    Without CLUSTER, show all clusters; give a deleted cluster by its ID.  Requires a token with the scope
    cenote:admin.
    """
    with client_for(layout) as client:
        uuid = cluster if cluster is None or is_uuid(cluster) else find_cluster(client, cluster)["id"]

        def newest(count: int) -> Sequence[Item]:
            found = client.cenote.list_audit(cluster_uuid=uuid, token=token, search=search, per_page=count)
            return [
                {**entry, "who": who(entry), "outcome": outcome(entry), "changed": _changed(entry)}
                for entry in found["entries"]
            ]

        tail.show(newest, printer, COLUMNS, lines, follow)


def who(entry: Item) -> str:
    """Return who made a change: a token, or the service itself."""
    if entry["token"] is not None:
        return str(entry["token"]["name"])
    return "unknown" if entry["outcome"] == "refused" else "cenote"


def outcome(entry: Item) -> str:
    """Return the outcome of a change with what it waits for."""
    return ": ".join(part for part in (entry["outcome"], entry["reason"]) if part)


def _changed(entry: Item) -> str:
    return str(entry["summary"]) if entry["changes"] else ""
