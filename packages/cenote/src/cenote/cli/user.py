"""``cenote user``: create, list, get and delete users; reset passwords."""

from __future__ import annotations

import click

from cenote.cli.cluster_argument import cluster_api, cluster_argument
from cenote.cli.printer import (
    SQL_COLUMNS,
    SQL_DETAILS,
    Printer,
    confirm,
    note,
    note_pending,
    output_options,
    with_present,
)
from cenote.model.paths import Layout

LIST_COLUMNS = {"NAME": "name", "ROLE": "role"}
DETAIL_COLUMNS = {"Name": "name", "Role": "role", "Password": "password"}


@click.group()
def command() -> None:
    """Create, list and delete users; reset passwords."""


@command.command()
@cluster_argument
@output_options
@click.argument("name")
def create(layout: Layout, printer: Printer, cluster: str, name: str) -> None:
    """Create a user and print its password."""
    with cluster_api(layout, cluster) as (databases, uuid):
        made = databases.add_user(uuid, {"name": name})
        printer.show(made["user"], DETAIL_COLUMNS)
        note_pending(made)


@command.command("list")
@cluster_argument
@output_options
def list_(layout: Layout, printer: Printer, cluster: str) -> None:
    """List the users of a cluster."""
    with cluster_api(layout, cluster) as (databases, uuid):
        users = list(databases.iter_users(uuid))
        printer.show_all(users, with_present(LIST_COLUMNS, users, SQL_COLUMNS))


@command.command()
@cluster_argument
@output_options
@click.argument("name")
def get(layout: Layout, printer: Printer, cluster: str, name: str) -> None:
    """Show a user, including the password."""
    with cluster_api(layout, cluster) as (databases, uuid):
        user = databases.get_user(uuid, name)["user"]
        printer.show(user, with_present(DETAIL_COLUMNS, [user], SQL_DETAILS))


@command.command()
@cluster_argument
@output_options
@click.argument("name")
def reset(layout: Layout, printer: Printer, cluster: str, name: str) -> None:
    """Reset the password of a user and print the new one; the old one stops working."""
    with cluster_api(layout, cluster) as (databases, uuid):
        printer.show(databases.reset_auth(uuid, name, {})["user"], DETAIL_COLUMNS)


@command.command()
@cluster_argument
@click.argument("name")
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
def delete(layout: Layout, cluster: str, name: str, yes: bool) -> None:
    """Delete a user; objects it owns are reassigned to doadmin."""
    with cluster_api(layout, cluster) as (databases, uuid):
        confirm(f"Delete user {name} of cluster {cluster}?", yes)
        databases.delete_user(uuid, name)
        note(f"Deleted user {name}")
