"""``cenote db``: create, list and delete the databases of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cenote.cli.named import cluster_argument, opened
from cenote.cli.output import Output, confirm, note, output
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client.types import DatabaseCreate

IN_A_LIST, ALONE = {"NAME": "name"}, {"Name": "name"}


@click.group()
def command() -> None:
    """Create, list and delete databases."""


@command.command()
@cluster_argument
@output
@click.argument("name")
@click.option("--owner", help="The user who may do everything in it.  [default: doadmin]")
def create(layout: Layout, output: Output, cluster: str, name: str, owner: str | None) -> None:
    """Create a database."""
    wanted: DatabaseCreate = {"name": name}
    if owner is not None:
        wanted["cenote"] = {"owner": owner}
    with opened(layout, cluster) as (databases, uuid):
        output.show(databases.add(uuid, wanted)["db"], ALONE)


@command.command("list")
@cluster_argument
@output
def list_(layout: Layout, output: Output, cluster: str) -> None:
    """List the databases of a cluster."""
    with opened(layout, cluster) as (databases, uuid):
        output.show_all(list(databases.iter_dbs(uuid)), IN_A_LIST)


@command.command()
@cluster_argument
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(layout: Layout, cluster: str, name: str, yes: bool) -> None:
    """Delete a database with all its data."""
    with opened(layout, cluster) as (databases, uuid):
        confirm(f"Delete database {name} of cluster {cluster} with all its data?", yes)
        databases.delete(uuid, name)
        note(f"deleted database {name}")
