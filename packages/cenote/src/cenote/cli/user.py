"""``cenote user``: create, list, get and delete users, and give them new passwords."""

from __future__ import annotations

import click

from cenote.cli.named import cluster_argument, opened
from cenote.cli.output import Output, confirm, note, output
from cenote.model.paths import Layout

IN_A_LIST = {"NAME": "name", "ROLE": "role"}
ALONE = {"Name": "name", "Role": "role", "Password": "password"}


@click.group()
def command() -> None:
    """Create, list and delete users, and reset their passwords."""


@command.command()
@cluster_argument
@output
@click.argument("name")
def create(layout: Layout, output: Output, cluster: str, name: str) -> None:
    """Create a user; the answer has the password."""
    with opened(layout, cluster) as (databases, uuid):
        output.show(databases.add_user(uuid, {"name": name})["user"], ALONE)


@command.command("list")
@cluster_argument
@output
def list_(layout: Layout, output: Output, cluster: str) -> None:
    """List the users of a cluster."""
    with opened(layout, cluster) as (databases, uuid):
        output.show_all(list(databases.iter_users(uuid)), IN_A_LIST)


@command.command()
@cluster_argument
@output
@click.argument("name")
def get(layout: Layout, output: Output, cluster: str, name: str) -> None:
    """Show one user, with the password."""
    with opened(layout, cluster) as (databases, uuid):
        output.show(databases.get_user(uuid, name)["user"], ALONE)


@command.command()
@cluster_argument
@output
@click.argument("name")
def reset(layout: Layout, output: Output, cluster: str, name: str) -> None:
    """Give a user a new password; the old one is refused from then on."""
    with opened(layout, cluster) as (databases, uuid):
        output.show(databases.reset_auth(uuid, name, {})["user"], ALONE)


@command.command()
@cluster_argument
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(layout: Layout, cluster: str, name: str, yes: bool) -> None:
    """Delete a user; what it owns becomes the administrator's."""
    with opened(layout, cluster) as (databases, uuid):
        confirm(f"Delete user {name} of cluster {cluster}?", yes)
        databases.delete_user(uuid, name)
        note(f"deleted user {name}")
