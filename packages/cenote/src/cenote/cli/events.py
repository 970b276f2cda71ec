"""``cenote events``: the events of one cluster or of all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import click

from cenote.cli import tail
from cenote.cli.audit import outcome, who
from cenote.cli.cluster_argument import optional_cluster_argument
from cenote.cli.lookup import find_cluster
from cenote.cli.printer import Item, Printer, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

COLUMNS = {
    "WHEN": "create_time",
    "EVENT": "event_type",
    "CLUSTER": "cluster_name",
    "WHO": "who",
    "FROM": "cenote.address",
    "OUTCOME": "outcome",
    "CHANGES": "cenote.summary",
}


@click.command()
@optional_cluster_argument
@output_options
@tail.tail_options
def command(layout: Layout, printer: Printer, cluster: str | None, lines: int, follow: bool) -> None:
    """Show the events of a cluster, or of all clusters: what was changed, from what to what, and by whom."""
    with client_for(layout) as client:
        uuid = None if cluster is None else find_cluster(client, cluster)["id"]

        def newest(count: int) -> Sequence[Item]:
            uuids = [uuid] if uuid else [one["id"] for one in client.databases.iter_clusters()]
            found = [
                event
                for each in uuids
                for event in islice(client.databases.iter_events(each, per_page=count), count)
            ]
            newest = sorted(found, key=lambda event: event["id"], reverse=True)[:count]
            return [
                {**event, "who": who(event["cenote"]), "outcome": outcome(event["cenote"])}
                for event in newest
            ]

        tail.show(newest, printer, COLUMNS, lines, follow)
