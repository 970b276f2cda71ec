"""``cenote options``: what a cluster can be created with."""

from __future__ import annotations

import click

from cenote.cli.options import data_dir
from cenote.cli.output import Output, output
from cenote.cli.reach import client_for
from cenote.model.paths import Layout


@click.command()
@data_dir
@output
def command(layout: Layout, output: Output) -> None:
    """Show the versions, sizes and regions that a cluster can have."""
    with client_for(layout) as client:
        offered = client.databases.list_options()["options"]["pg"]
    sizes = dict.fromkeys(size for layout in offered["layouts"] for size in layout["sizes"])
    shown = {"versions": offered["versions"], "sizes": list(sizes), "regions": offered["regions"]}
    output.show(shown, {name.capitalize(): name for name in shown})
