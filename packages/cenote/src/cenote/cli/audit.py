"""``cenote audit``: who has changed what, and whose calls were refused."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cenote.cli import history
from cenote.cli.named import any_cluster_argument, cluster_of, is_id
from cenote.cli.output import Output, Thing, output
from cenote.cli.reach import client_for
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
@any_cluster_argument
@output
@history.history
def command(layout: Layout, output: Output, cluster: str | None, lines: int, follow: bool) -> None:
    """Show who has changed what, and whose calls were refused with which code; a token for that is an
    administrator's.

    With CLUSTER, of one cluster; of one that was deleted, by its id.
    """
    with client_for(layout) as client:
        uuid = cluster if cluster is None or is_id(cluster) else cluster_of(client, cluster)["id"]

        def newest(count: int) -> Sequence[Thing]:
            entries = client.cenote.list_audit(cluster_uuid=uuid, per_page=count)["entries"]
            return [{**entry, "who": _who(entry)} for entry in entries]

        history.show(newest, output, COLUMNS, lines, follow)


def _who(entry: Thing) -> str:
    if entry["token"] is not None:
        return str(entry["token"]["name"])
    return "unknown" if entry["refused"] else "cenote"
