"""``cenote host``: the hosts that run clusters."""

from __future__ import annotations

import click

from cenote.cli.data_dir import data_dir
from cenote.cli.printer import Printer, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

COLUMNS = {
    "NAME": "name",
    "ADDRESS": "address",
    "CPUS": "cpus",
    "MEMORY (MiB)": "memory_mib",
    "ALLOCATED (MiB)": "promised_memory_mib",
    "STORAGE ALLOCATED (MiB)": "promised_storage_mib",
    "CLUSTERS": "clusters",
    "PORTS": "ports.claimed",
    "VERSIONS": "version_names",
}


@click.group()
def command() -> None:
    """List the hosts that run clusters."""


@command.command("list")
@data_dir
@output_options
def list_(layout: Layout, printer: Printer) -> None:
    """List the hosts that are up, with what of their memory and storage is allocated to clusters.

    Memory may be allocated more than once: sizes of clusters may add up to more than there is.  Requires a
    token with the scope cenote:admin.
    """
    with client_for(layout) as client:
        hosts = client.cenote.list_hosts()["hosts"]
    if printer.format == "table":
        printer.show_all(
            [{**host, "version_names": list(host["versions"].values())} for host in hosts], COLUMNS
        )
    else:
        printer.show_all(hosts, COLUMNS | {"VERSIONS": "versions"})
