"""``cenote tag``: tags, and the clusters that have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cenote.cli import suggestions
from cenote.cli.data_dir import data_dir
from cenote.cli.lookup import find_cluster
from cenote.cli.plain_requests import listed, path
from cenote.cli.printer import Printer, confirm, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client import Client

TAGS, TAG, RESOURCES = "/v2/tags", "/v2/tags/{}", "/v2/tags/{}/resources"
COLUMNS = {"NAME": "name", "CLUSTERS": "resources.databases.count"}
DETAILS = {heading.capitalize(): field for heading, field in COLUMNS.items()}


@click.group()
def command() -> None:
    """Create, list and delete tags; tag clusters."""


@command.command("list")
@data_dir
@output_options
def list_(layout: Layout, printer: Printer) -> None:
    """List tags with the number of their clusters; 'cenote cluster list --tag' shows these."""
    with client_for(layout) as client:
        printer.show_all(list(listed(client, TAGS, "tags")), COLUMNS)


@command.command()
@data_dir
@output_options
@click.argument("name")
def create(layout: Layout, printer: Printer, name: str) -> None:
    """Create a tag."""
    with client_for(layout) as client:
        printer.show(client.request("POST", TAGS, json={"name": name})["tag"], DETAILS)


@command.command()
@data_dir
@output_options
@click.argument("name", shell_complete=suggestions.tags)
def get(layout: Layout, printer: Printer, name: str) -> None:
    """Show a tag with the number of its clusters."""
    with client_for(layout) as client:
        printer.show(client.request("GET", path(TAG, name))["tag"], DETAILS)


@command.command()
@data_dir
@output_options
@click.argument("name", shell_complete=suggestions.tags)
@click.argument("clusters", nargs=-1, required=True, metavar="CLUSTER…", shell_complete=suggestions.clusters)
def add(layout: Layout, printer: Printer, name: str, clusters: tuple[str, ...]) -> None:
    """Give clusters a tag, which is created if it does not exist."""
    with client_for(layout) as client:
        body = _resources(client, clusters)
        client.request("POST", TAGS, json={"name": name})
        client.request("POST", path(RESOURCES, name), json=body)
        tag = client.request("GET", path(TAG, name))["tag"]
        printer.done(f"Tagged {', '.join(clusters)} with {name}", tag, COLUMNS)


@command.command()
@data_dir
@output_options
@click.argument("name", shell_complete=suggestions.tags)
@click.argument("clusters", nargs=-1, required=True, metavar="CLUSTER…", shell_complete=suggestions.clusters)
def remove(layout: Layout, printer: Printer, name: str, clusters: tuple[str, ...]) -> None:
    """Take a tag from clusters; the tag is kept."""
    with client_for(layout) as client:
        client.request("DELETE", path(RESOURCES, name), json=_resources(client, clusters))
        tag = client.request("GET", path(TAG, name))["tag"]
        printer.done(f"Removed tag {name} from {', '.join(clusters)}", tag, COLUMNS)


@command.command()
@data_dir
@output_options
@click.argument("name", shell_complete=suggestions.tags)
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
def delete(layout: Layout, printer: Printer, name: str, yes: bool) -> None:
    """Delete a tag and take it from all clusters."""
    with client_for(layout) as client:
        confirm(f"Delete tag {name} and take it from all clusters?", yes)
        client.request("DELETE", path(TAG, name))
        printer.done(f"Deleted tag {name}", {"name": name})


def _resources(client: Client, clusters: tuple[str, ...]) -> dict[str, list[dict[str, str]]]:
    return {
        "resources": [
            {"resource_id": find_cluster(client, name)["id"], "resource_type": "database"}
            for name in clusters
        ]
    }
