"""``cenote cluster recover``: clusters of a lost host come up on another one, from their backups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cenote.cli.data_dir import data_dir
from cenote.cli.lookup import find_cluster
from cenote.cli.online_wait import wait_until_online
from cenote.cli.printer import Printer, confirm, note, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client import Client

COLUMNS = {"NAME": "name", "HOST": "cenote.host", "STATUS": "status", "ID": "id"}


@click.command()
@click.argument("cluster", metavar="[CLUSTER]", required=False)
@click.option("--all", "every", is_flag=True, help="Recover every cluster that is down and can be.")
@click.option("--host", metavar="HOST", help="Host.  [default: the one with the most room]")
@click.option("--zone", metavar="ZONE", help="Zone of the host.")
@click.option("--nodes", metavar="N", type=int, help="Number of nodes.  [default: as before]")
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the clusters are online.")
@data_dir
@output_options
def recover(
    layout: Layout,
    printer: Printer,
    cluster: str | None,
    every: bool,
    host: str | None,
    zone: str | None,
    nodes: int | None,
    yes: bool,
    no_wait: bool,
) -> None:
    """Recover a cluster from its backups, after the loss of its host or of its data.

    Ids, users, passwords, CA and, where they are free, ports stay.  What was committed after the last
    archived WAL is missing.  Requires a token with the scope cenote:admin.
    """
    if every == (cluster is not None):
        raise click.UsageError("give a cluster, or --all")
    wish: Any = {name: value for name, value in (("host", host), ("zone", zone)) if value}
    wish |= {} if nodes is None else {"num_nodes": nodes}
    with client_for(layout) as client:
        meant = _down(client) if every else [find_cluster(client, cluster or "")]
        asked = _asked(client, meant, wish, skip=every)
        if not asked:
            printer.show_all([], COLUMNS)
            note("No cluster is down that could be recovered")
            return
        for found, plan in asked:
            note(_in_words(found["name"], plan))
        names = ", ".join(found["name"] for found, _ in asked)
        confirm(f"Recover {names} from the backups?", yes)
        begun = [
            (found, client.databases.recover_cluster(found["id"], wish)["recovery"]) for found, _ in asked
        ]
        done = [_ended(client, found["id"], no_wait=no_wait) for found, _ in begun]
        for _, plan in begun:
            for line in plan["changed"]:
                note(line)
        if every:
            printer.show_all(done, COLUMNS)
        else:
            [(found, plan)] = begun
            words = "Recovering" if no_wait else "Recovered"
            printer.done(f"{words} cluster {found['name']} on {plan['host']}", done[0], {})


def _down(client: Client) -> list[Any]:
    """Return the clusters that nobody can use."""
    return [one for one in client.databases.iter_clusters() if one.get("cenote", {}).get("health") == "down"]


def _asked(client: Client, meant: list[Any], wish: Any, *, skip: bool) -> list[tuple[Any, Any]]:
    """Return the clusters with what would come of it; with ``skip`` without those that cannot be."""
    from cenote_client import BusyError, InvalidError

    found = []
    for cluster in meant:
        try:
            found.append((cluster, client.databases.get_recovery(cluster["id"], **wish)["recovery"]))
        except (BusyError, InvalidError) as error:
            if not skip:
                raise
            note(f"{cluster['name']} cannot be recovered: {error}")
    return found


def _in_words(name: str, plan: Any) -> str:
    lost = {
        "removed": f"its host {plan['former_host']} was removed",
        "down": f"its host {plan['former_host']} is down",
        "missing": f"its data directory on {plan['former_host']} is missing",
    }[plan["loss"]]
    hosts = ", ".join(plan["nodes"])
    text = f"{name}: {lost}; it comes from {plan['repository']} to {hosts}"
    if plan["archived_at"] is None:
        return f"{text}. It is not known what is missing: no WAL is in the archive"
    return (
        f"{text}. What was committed after {plan['archived_at']} is missing, "
        f"at most {plan['missing_seconds']} seconds until {plan['lost_at']}"
    )


def _ended(client: Client, id: str, *, no_wait: bool) -> Any:
    if no_wait:
        return client.databases.get_cluster(id)["database"]
    return wait_until_online(client, id)
