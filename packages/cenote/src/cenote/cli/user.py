"""``cenote user``: create, list, get, update and delete users; reset passwords."""

from __future__ import annotations

from typing import Any

import click

from cenote.cli import suggestions
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

NO_ACCESS = "none"
ACCESS = click.Choice(["readonly", "readwrite", NO_ACCESS])
LIST_COLUMNS = {"NAME": "name", "ROLE": "role", "ACCESS": "cenote.access"}
DETAIL_COLUMNS = {
    "Name": "name",
    "Role": "role",
    "Password": "password",
    "Access": "cenote.access",
    "Replication": "settings.pg_allow_replication",
}


def privilege_options(function: Any) -> Any:
    """Add ``--access`` and ``--replication``."""
    access = click.option(
        "--access", type=ACCESS, help="Access to all tables of other users, also those made later."
    )
    replication = click.option(
        "--replication/--no-replication",
        default=None,
        help="Whether it may replicate, and so copy the whole server.",
    )
    return access(replication(function))


@click.group()
def command() -> None:
    """Create, list, update and delete users; reset passwords."""


@command.command()
@cluster_argument
@output_options
@click.argument("name")
@privilege_options
def create(
    layout: Layout, printer: Printer, cluster: str, name: str, access: str | None, replication: bool | None
) -> None:
    """Create a user and print its password."""
    body: Any = {"name": name, **_privileges(access, replication)}
    with cluster_api(layout, cluster) as (databases, uuid):
        made = databases.add_user(uuid, body)
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
@click.argument("name", shell_complete=suggestions.users)
def get(layout: Layout, printer: Printer, cluster: str, name: str) -> None:
    """Show a user, including the password."""
    with cluster_api(layout, cluster) as (databases, uuid):
        user = databases.get_user(uuid, name)["user"]
        printer.show(user, with_present(DETAIL_COLUMNS, [user], SQL_DETAILS))


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.users)
@privilege_options
def update(
    layout: Layout, printer: Printer, cluster: str, name: str, access: str | None, replication: bool | None
) -> None:
    """Change the privileges of a user."""
    body = _privileges(access, replication)
    if not body:
        raise click.UsageError("nothing to update; specify --access, --replication or --no-replication")
    with cluster_api(layout, cluster) as (databases, uuid):
        changed = databases.update_user(uuid, name, body)
        printer.show(changed["user"], DETAIL_COLUMNS)
        note_pending(changed)


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.users)
def reset(layout: Layout, printer: Printer, cluster: str, name: str) -> None:
    """Reset the password of a user and print the new one; the old one stops working."""
    with cluster_api(layout, cluster) as (databases, uuid):
        changed = databases.reset_auth(uuid, name, {})
        printer.show(changed["user"], DETAIL_COLUMNS)
        note_pending(changed)


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.users)
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
def delete(layout: Layout, printer: Printer, cluster: str, name: str, yes: bool) -> None:
    """Delete a user; what it owned goes to a role without any other rights."""
    with cluster_api(layout, cluster) as (databases, uuid):
        confirm(f"Delete user {name} of cluster {cluster}?", yes)
        databases.delete_user(uuid, name)
        printer.done(f"Deleted user {name}", {"name": name})


def _privileges(access: str | None, replication: bool | None) -> Any:
    body: Any = {}
    if access is not None:
        body["cenote"] = {"access": None if access == NO_ACCESS else access}
    if replication is not None:
        body["settings"] = {"pg_allow_replication": replication}
    return body
