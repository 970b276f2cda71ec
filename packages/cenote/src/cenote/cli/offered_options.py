"""``cenote options``: the PostgreSQL versions, sizes and regions available for a cluster."""

from __future__ import annotations

import click

from cenote.cli.data_dir import data_dir
from cenote.cli.printer import Printer, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout


@click.command()
@data_dir
@output_options
def command(layout: Layout, printer: Printer) -> None:
    """List the PostgreSQL versions, sizes and regions available for a cluster."""
    with client_for(layout) as client:
        offered = client.databases.list_options()["options"]["pg"]
    sizes = dict.fromkeys(size for layout in offered["layouts"] for size in layout["sizes"])
    shown = {"versions": offered["versions"], "sizes": list(sizes), "regions": offered["regions"]}
    printer.show(shown, {name.capitalize(): name for name in shown})
