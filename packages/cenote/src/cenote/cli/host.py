"""``cenote host``: the hosts that run clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cenote.cli import host_remains, host_token
from cenote.cli.data_dir import data_dir
from cenote.cli.lookup import find_host
from cenote.cli.printer import Printer, confirm, note, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client.types import Host

COLUMNS = {
    "NAME": "name",
    "ADDRESS": "address",
    "ZONE": "zone",
    "ROLES": "roles",
    "STATE": "condition",
    "CPUS": "cpus",
    "MEMORY (MiB)": "memory_mib",
    "ALLOCATED (MiB)": "promised_memory_mib",
    "STORAGE (MiB)": "disk_mib",
    "STORAGE ALLOCATED (MiB)": "promised_storage_mib",
    "CLUSTERS": "clusters",
    "PORTS": "ports.claimed",
    "VERSIONS": "version_names",
}
_AS_THEY_ARE = {"STATE": "state", "VERSIONS": "versions"}


@click.group()
def command() -> None:
    """List the hosts that run clusters; drain and remove them, and see what no record names."""


for one in (host_token.create, host_token.list_, host_token.revoke):
    command.add_command(one)


@command.command("list")
@data_dir
@output_options
def list_(layout: Layout, printer: Printer) -> None:
    """List the hosts with their state, and what of their memory and storage is allocated to clusters.

    Memory may be allocated more than once: sizes of clusters may add up to more than there is.  Requires a
    token with the scope cenote:admin, as all these commands.
    """
    with client_for(layout) as client:
        _show(printer, client.cenote.list_hosts()["hosts"])


@command.command()
@data_dir
@output_options
@click.argument("host", metavar="NAME_OR_ID")
def drain(layout: Layout, printer: Printer, host: str) -> None:
    """Move all clusters off a host, and place none on it.

    Returns at once; 'cenote host list' shows how many have moved.
    """
    with client_for(layout) as client:
        found = find_host(client, host)
        drained = client.cenote.drain_host(found["id"])["host"]
        printer.done(f"{found['name']} is {drained['reason']}", drained, COLUMNS | _AS_THEY_ARE)
        note("'cenote host list' shows the progress; 'cenote host undrain' takes it back")


@command.command()
@data_dir
@output_options
@click.argument("host", metavar="NAME_OR_ID")
def undrain(layout: Layout, printer: Printer, host: str) -> None:
    """Place clusters on a host again; those that have moved stay where they are."""
    with client_for(layout) as client:
        found = find_host(client, host)
        host_now = client.cenote.undrain_host(found["id"])["host"]
        printer.done(f"{found['name']} takes clusters again", host_now, COLUMNS | _AS_THEY_ARE)


@command.command()
@data_dir
@output_options
@click.argument("host", metavar="NAME_OR_ID")
@click.option("--lost", is_flag=True, help="The host is gone for good, with the clusters that are on it.")
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
def remove(layout: Layout, printer: Printer, host: str, lost: bool, yes: bool) -> None:
    """Remove a host on which nothing is left; it cannot come back.

    With --lost, a host that is down and will not return: its clusters stay in the list as down, until they
    are deleted.
    """
    with client_for(layout) as client:
        found = find_host(client, host)
        question = f"Remove host {found['name']}?"
        if lost and found["clusters"]:
            question = (
                f"Remove host {found['name']} and give up its {found['clusters']} clusters with all data?"
            )
        confirm(question, yes)
        client.cenote.remove_host(found["id"], lost=lost)
        printer.done(f"Removed host {found['name']}", {"id": found["id"], "name": found["name"]})


def _show(printer: Printer, hosts: list[Host]) -> None:
    if printer.format == "table":
        for host in hosts:
            if host["unknown"]:
                note(
                    f"{host['name']}: {len(host['unknown'])} nodes there are in no record; run "
                    "'cenote host unknown list' on it"
                )
        printer.show_all([_readable(host) for host in hosts], COLUMNS)
    else:
        printer.show_all(hosts, COLUMNS | _AS_THEY_ARE)


def _readable(host: Host) -> dict[str, Any]:
    """Return a host with its state in one text."""
    told = [host["state"]] if host["state"] != "up" or not host["reason"] else []
    return {
        **host,
        "condition": ": ".join([*told, *([host["reason"]] if host["reason"] else [])]),
        "version_names": list(host["versions"].values()),
    }


command.add_command(host_remains.unknown_command)
command.add_command(host_remains.trash_command)
