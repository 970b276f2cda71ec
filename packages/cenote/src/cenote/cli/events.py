"""``cenote events``: what has happened to clusters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import click

from cenote.cli import history
from cenote.cli.named import any_cluster_argument, cluster_of
from cenote.cli.output import Output, Thing, output
from cenote.cli.reach import client_for
from cenote.model.paths import Layout

COLUMNS = {"WHEN": "create_time", "EVENT": "event_type", "CLUSTER": "cluster_name", "ID": "id"}


@click.command()
@any_cluster_argument
@output
@history.history
def command(layout: Layout, output: Output, cluster: str | None, lines: int, follow: bool) -> None:
    """Show what has happened to a cluster, or to all that there are."""
    with client_for(layout) as client:
        uuid = None if cluster is None else cluster_of(client, cluster)["id"]

        def newest(count: int) -> Sequence[Thing]:
            uuids = [uuid] if uuid else [one["id"] for one in client.databases.iter_clusters()]
            found = [
                event
                for each in uuids
                for event in islice(client.databases.iter_events(each, per_page=count), count)
            ]
            return sorted(found, key=lambda event: event["id"], reverse=True)[:count]

        history.show(newest, output, COLUMNS, lines, follow)
