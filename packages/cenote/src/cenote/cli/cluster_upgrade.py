"""``cenote cluster upgrade``: to another major version of PostgreSQL, with its progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cenote.cli import suggestions
from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.lookup import cluster_now, find_cluster
from cenote.cli.printer import Printer, output_options
from cenote.cli.progress import wait_while
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client import Client


@click.command()
@cluster_argument
@output_options
@click.argument("version", shell_complete=suggestions.versions)
@click.option("--rehearse", is_flag=True, help="Upgrade a fork of the cluster, and say what happens.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the upgrade is over.")
def upgrade(
    layout: Layout, printer: Printer, cluster: str, version: str, rehearse: bool, no_wait: bool
) -> None:
    """Upgrade a cluster to a newer major version of PostgreSQL.

    What is in the way is said before anything stops. Clients of transaction pools wait for some seconds,
    others are disconnected; whatever fails leaves the former version running.

    With --rehearse a fork, a copy with all of its data, is upgraded in its place and checked, and removed
    then: the result says for how long clients would wait, and what would break.
    """
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        name, id = found["name"], found["id"]
        if rehearse:
            _rehearse(client, printer, found, version, no_wait)
            return
        client.databases.update_major_version(id, {"version": version})
        if no_wait:
            text = f"Upgrading cluster {name} to PostgreSQL {version}; see 'cenote cluster get'"
            printer.done(text, cluster_now(client, id), {})
            return
        upgraded = wait_while(lambda: cluster_now(client, id), _upgrading)
        if upgraded["version"] != version:
            raise click.ClickException(
                f"cluster {name} was not upgraded to PostgreSQL {version}; 'cenote events {name}' says why"
            )
        printer.done(f"Upgraded cluster {name} from PostgreSQL {found['version']} to {version}", upgraded, {})


def _rehearse(client: Client, printer: Printer, found: Any, version: str, no_wait: bool) -> None:
    """Rehearse the upgrade of a cluster; fails if that has found something."""
    name, id = found["name"], found["id"]
    rehearsal = client.databases.rehearse_upgrade(id, {"version": version})["rehearsal"]
    if no_wait:
        text = f"Rehearsing the upgrade of cluster {name}; see 'cenote cluster get {name}'"
        printer.done(text, rehearsal, {})
        return
    rehearsal = wait_while(lambda: cluster_now(client, id)["cenote"]["rehearsal"], _rehearsing)
    if rehearsal["state"] == "failed":
        raise click.ClickException(f"cluster {name}: {rehearsal['reason']}")
    printer.done(f"Cluster {name}: {rehearsal['reason']}", rehearsal, {})


def _rehearsing(rehearsal: Any) -> str | None:
    return str(rehearsal["reason"]) if rehearsal["state"] == "running" else None


def _upgrading(cluster: Any) -> str | None:
    """Return what an upgrade does; None if there is none."""
    known = cluster["cenote"]
    return str(known["reason"]) if known.get("upgrading_from") else None
