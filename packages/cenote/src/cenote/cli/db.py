"""``cenote db``: create, list, get, import and delete the databases of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cenote.cli import db_import, suggestions
from cenote.cli.cluster_argument import cluster_api, cluster_argument
from cenote.cli.printer import (
    SQL_COLUMNS,
    SQL_DETAILS,
    Printer,
    confirm,
    note_pending,
    output_options,
    with_present,
)
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client.types import DatabaseCreate

LIST_COLUMNS, DETAIL_COLUMNS = {"NAME": "name"}, {"Name": "name", "Owner": "cenote.owner"}


@click.group()
def command() -> None:
    """Create, list, import and delete databases."""


@command.command()
@cluster_argument
@output_options
@click.argument("name")
@click.option(
    "--owner",
    metavar="USER",
    shell_complete=suggestions.users,
    help="Owner of the database.  [default: doadmin]",
)
def create(layout: Layout, printer: Printer, cluster: str, name: str, owner: str | None) -> None:
    """Create a database."""
    wanted: DatabaseCreate = {"name": name}
    if owner is not None:
        wanted["cenote"] = {"owner": owner}
    with cluster_api(layout, cluster) as (databases, uuid):
        made = databases.add(uuid, wanted)
        printer.show(made["db"], DETAIL_COLUMNS)
        note_pending(made)


@command.command("list")
@cluster_argument
@output_options
def list_(layout: Layout, printer: Printer, cluster: str) -> None:
    """List the databases of a cluster."""
    with cluster_api(layout, cluster) as (databases, uuid):
        found = list(databases.iter_dbs(uuid))
        printer.show_all(found, with_present(LIST_COLUMNS, found, SQL_COLUMNS))


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.databases)
def get(layout: Layout, printer: Printer, cluster: str, name: str) -> None:
    """Show a database."""
    with cluster_api(layout, cluster) as (databases, uuid):
        database = databases.get(uuid, name)["db"]
        printer.show(database, with_present(DETAIL_COLUMNS, [database], SQL_DETAILS))


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.databases)
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
def delete(layout: Layout, printer: Printer, cluster: str, name: str, yes: bool) -> None:
    """Delete a database and all its data."""
    with cluster_api(layout, cluster) as (databases, uuid):
        confirm(f"Delete database {name} of cluster {cluster} and all its data?", yes)
        databases.delete(uuid, name)
        printer.done(f"Deleted database {name}", {"name": name})


command.add_command(db_import.command)
