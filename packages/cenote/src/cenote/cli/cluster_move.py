"""``cenote cluster move``: to another host, with its progress."""

from __future__ import annotations

from typing import Any

import click

from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.lookup import cluster_now, find_cluster
from cenote.cli.printer import Printer, output_options
from cenote.cli.progress import wait_while
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

MOVE_COLUMNS = {
    "Moving from": "cenote.move.from",
    "Moving to": "cenote.move.to",
    "Stage": "cenote.move.stage",
    "Waiting for": "cenote.move.reason",
}


@click.command()
@cluster_argument
@output_options
@click.option("--to", "host", metavar="HOST", help="Host.  [default: the one with the most room]")
@click.option("--zone", metavar="ZONE", help="Zone of the host.")
@click.option("--wait", is_flag=True, help="Wait until the move is over, and show its progress.")
@click.option("--cancel", is_flag=True, help="Cancel the move; possible until the new host has taken over.")
def move(
    layout: Layout,
    printer: Printer,
    cluster: str,
    host: str | None,
    zone: str | None,
    wait: bool,
    cancel: bool,
) -> None:
    """Move a cluster to another host; clients of its pools stay connected.

    Requires a token with the scope cenote:admin.
    """
    if cancel and (host or zone or wait):
        raise click.UsageError("--cancel takes no other option")
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        name, id = found["name"], found["id"]
        if cancel:
            client.databases.cancel_move(id)
            printer.done(f"Cancelled the move of cluster {name}", cluster_now(client, id), {})
            return
        wish: Any = ({"host": host} if host else {}) | ({"zone": zone} if zone else {})
        begun = client.databases.move_cluster(id, wish)["move"]
        if not wait:
            text = f"Moving cluster {name} from {begun['from']} to {begun['to']}; see 'cenote cluster get'"
            printer.done(text, cluster_now(client, id), {})
            return
        moved = wait_while(lambda: cluster_now(client, id), _moving)
        if moved["cenote"]["host"] != begun["to"]:
            raise click.ClickException(
                f"cluster {name} was not moved to {begun['to']}; 'cenote events {name}' says why"
            )
        printer.done(f"Moved cluster {name} from {begun['from']} to {begun['to']}", moved, {})


def _moving(cluster: Any) -> str | None:
    """Return what a move does, with how much is copied; None if there is none."""
    move = cluster.get("cenote", {}).get("move")
    return None if move is None else f"{move['stage']}: {move['reason']}{_share(move)}"


def _share(moving: Any) -> str:
    copied, data = moving.get("copied_mib", 0), moving.get("data_mib", 0)
    return f" ({copied:,} of {data:,} MiB)" if copied and data else ""
