"""``cenote user``: create, list, get and delete users, and give them new passwords."""

from __future__ import annotations

import click

from cenote.cli.named import cluster_argument, cluster_of
from cenote.cli.output import Output, confirm, note, output
from cenote.cli.reach import client_for
from cenote.layout import Layout

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
    with client_for(layout) as client:
        output.show(
            client.databases.add_user(cluster_of(client, cluster)["id"], {"name": name})["user"], ALONE
        )


@command.command("list")
@cluster_argument
@output
def list_(layout: Layout, output: Output, cluster: str) -> None:
    """List the users of a cluster."""
    with client_for(layout) as client:
        output.show_all(list(client.databases.iter_users(cluster_of(client, cluster)["id"])), IN_A_LIST)


@command.command()
@cluster_argument
@output
@click.argument("name")
def get(layout: Layout, output: Output, cluster: str, name: str) -> None:
    """Show one user, with the password."""
    with client_for(layout) as client:
        output.show(client.databases.get_user(cluster_of(client, cluster)["id"], name)["user"], ALONE)


@command.command()
@cluster_argument
@output
@click.argument("name")
def reset(layout: Layout, output: Output, cluster: str, name: str) -> None:
    """Give a user a new password; the old one is refused from then on."""
    with client_for(layout) as client:
        output.show(client.databases.reset_auth(cluster_of(client, cluster)["id"], name, {})["user"], ALONE)


@command.command()
@cluster_argument
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(layout: Layout, cluster: str, name: str, yes: bool) -> None:
    """Delete a user; what it owns becomes the administrator's."""
    with client_for(layout) as client:
        uuid = cluster_of(client, cluster)["id"]
        confirm(f"Delete user {name} of cluster {cluster}?", yes)
        client.databases.delete_user(uuid, name)
        note(f"deleted user {name}")
