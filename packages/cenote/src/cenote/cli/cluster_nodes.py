"""``cenote cluster nodes`` and ``switchover``."""

from __future__ import annotations

from typing import Any

import click

from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.lookup import cluster_now, find_cluster
from cenote.cli.printer import Printer, note, output_options
from cenote.cli.progress import wait_while
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

NODE_COLUMNS = {
    "NAME": "name",
    "ROLE": "role",
    "HOST": "host",
    "PORT": "port",
    "HEALTH": "health",
    "LAG BYTES": "lag_bytes",
    "LAG SECONDS": "lag_seconds",
    "SYNC": "sync",
    "REASON": "reason",
}
SWITCH_COLUMNS = {
    "Switching from": "cenote.switchover.from",
    "Switching to": "cenote.switchover.to",
    "Waiting for": "cenote.switchover.reason",
}


@click.command()
@cluster_argument
@output_options
def nodes(layout: Layout, printer: Printer, cluster: str) -> None:
    """List the nodes of a cluster, with their hosts and how far standbys are behind.

    Commits wait for one of those with SYNC.
    """
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        printer.show_all(nodes_of(found), NODE_COLUMNS)
        if found["num_nodes"] == 1:
            add = f"cenote cluster resize {found['name']} {found['size']} --nodes 2"
            note(f"One node: without a standby. Add one with '{add}'")


@click.command()
@cluster_argument
@output_options
@click.option("--to", "candidate", metavar="NODE", help="Node.  [default: the one that lacks least]")
@click.option(
    "--seconds",
    metavar="N",
    type=click.IntRange(min=1, max=3600),
    help="Give up after this time.  [default: 60]",
)
@click.option("--cut", is_flag=True, help="Disconnect clients whose transactions do not end.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the switch is over.")
@click.option("--cancel", is_flag=True, help="Give up a switch that waits.")
def switchover(
    layout: Layout,
    printer: Printer,
    cluster: str,
    candidate: str | None,
    seconds: int | None,
    cut: bool,
    no_wait: bool,
    cancel: bool,
) -> None:
    """Have another node of a cluster take writes; clients of its pools of transactions notice nothing."""
    if cancel and (candidate or seconds or cut or no_wait):
        raise click.UsageError("--cancel takes no other option")
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        name, id = found["name"], found["id"]
        if cancel:
            client.databases.cancel_switch(id)
            printer.done(f"Cancelled the switch of cluster {name}", cluster_now(client, id), {})
            return
        wish: Any = {"candidate": candidate} if candidate else {}
        wish |= {"seconds": seconds} if seconds else {}
        wish |= {"cut": True} if cut else {}
        begun = client.databases.switch_over(id, wish)
        wanted = begun.get("switchover", {}).get("to", begun["primary"])
        if no_wait and "switchover" in begun:
            text = f"Switching cluster {name} to {wanted}; see 'cenote cluster nodes {name}'"
            printer.done(text, cluster_now(client, id), {})
            return
        after = wait_while(lambda: cluster_now(client, id), _switching)
        primary = next((one["name"] for one in nodes_of(after) if one.get("role") == "primary"), "")
        if primary != wanted:
            raise click.ClickException(
                f"cluster {name} was not switched to {wanted}; 'cenote events {name}' says why"
            )
        printer.done(f"Switched cluster {name} to {primary}", after, {})


def nodes_of(cluster: Any) -> list[Any]:
    """Return the nodes of a cluster; of one with a single node, what is known of that."""
    known = cluster.get("cenote", {})
    alone = {
        "name": "node-1",
        "role": "primary",
        "host": known.get("host"),
        "port": cluster["connection"]["port"],
        "health": known.get("health"),
        "reason": known.get("reason"),
    }
    return list(known.get("nodes") or [alone])


def _switching(cluster: Any) -> str | None:
    """Return what a switch does; None if there is none."""
    switch = cluster.get("cenote", {}).get("switchover")
    return None if switch is None else f"{switch['stage']}: {switch['reason']}"
