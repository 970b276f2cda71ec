"""``cenote project``: projects, each with its clusters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cenote.cli import suggestions
from cenote.cli.data_dir import data_dir
from cenote.cli.lookup import find_cluster, find_project
from cenote.cli.plain_requests import given, listed, path
from cenote.cli.printer import Printer, confirm, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

F = TypeVar("F", bound=Callable[..., Any])

PROJECTS, PROJECT = "/v2/projects", "/v2/projects/{}"
RESOURCES = PROJECT + "/resources"
URN = "do:dbaas:"
COLUMNS = {"NAME": "name", "ENVIRONMENT": "environment", "PURPOSE": "purpose", "ID": "id"}
DETAILS = {
    "Name": "name",
    "ID": "id",
    "Default": "is_default",
    "Environment": "environment",
    "Purpose": "purpose",
    "Description": "description",
    "Created": "created_at",
}
MEMBERS = {"NAME": "name", "STATUS": "status", "SIZE": "size", "ID": "id"}


def text_options(function: F) -> F:
    """Add ``--description``, ``--purpose`` and ``--environment``."""
    for name, words in (
        ("--environment", "Development, Staging or Production."),
        ("--purpose", "What the project is for."),
        ("--description", "Description of the project."),
    ):
        function = click.option(name, metavar="TEXT", help=words)(function)
    return function


@click.group()
def command() -> None:
    """Create, list, update and delete projects; assign clusters to them."""


@command.command("list")
@data_dir
@output_options
def list_(layout: Layout, printer: Printer) -> None:
    """List projects, the default project first."""
    with client_for(layout) as client:
        printer.show_all(list(listed(client, PROJECTS, "projects")), COLUMNS)


@command.command()
@data_dir
@output_options
@click.argument("name")
@text_options
def create(layout: Layout, printer: Printer, name: str, **texts: str | None) -> None:
    """Create a project."""
    with client_for(layout) as client:
        made = client.request("POST", PROJECTS, json={"name": name} | given(**texts))["project"]
        printer.show(made, DETAILS)


@command.command()
@data_dir
@output_options
@click.argument("project", shell_complete=suggestions.projects)
def get(layout: Layout, printer: Printer, project: str) -> None:
    """Show a project."""
    with client_for(layout) as client:
        found = find_project(client, project)
        printer.show(client.request("GET", path(PROJECT, found["id"]))["project"], DETAILS)


@command.command()
@data_dir
@output_options
@click.argument("project", shell_complete=suggestions.projects)
@click.option("--name", metavar="NAME", help="New name.")
@text_options
def update(layout: Layout, printer: Printer, project: str, **texts: str | None) -> None:
    """Update the given attributes of a project."""
    body = given(**texts)
    if not body:
        raise click.UsageError("nothing to update; specify --name, --description, --purpose or --environment")
    with client_for(layout) as client:
        id = find_project(client, project)["id"]
        printer.show(client.request("PATCH", path(PROJECT, id), json=body)["project"], DETAILS)


@command.command()
@data_dir
@output_options
@click.argument("project", shell_complete=suggestions.projects)
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
def delete(layout: Layout, printer: Printer, project: str, yes: bool) -> None:
    """Delete a project that has no clusters."""
    with client_for(layout) as client:
        found = find_project(client, project)
        confirm(f"Delete project {found['name']}?", yes)
        client.request("DELETE", path(PROJECT, found["id"]))
        printer.done(f"Deleted project {found['name']}", {"id": found["id"], "name": found["name"]})


@command.command()
@data_dir
@output_options
@click.argument("project", shell_complete=suggestions.projects)
def clusters(layout: Layout, printer: Printer, project: str) -> None:
    """List the clusters of a project."""
    with client_for(layout) as client:
        members = listed(client, path(RESOURCES, find_project(client, project)["id"]), "resources")
        ids = {member["urn"].removeprefix(URN) for member in members}
        found = [cluster for cluster in client.databases.iter_clusters() if cluster["id"] in ids]
        printer.show_all(found, MEMBERS)


@command.command()
@data_dir
@output_options
@click.argument("project", shell_complete=suggestions.projects)
@click.argument("members", nargs=-1, required=True, metavar="CLUSTER…", shell_complete=suggestions.clusters)
def assign(layout: Layout, printer: Printer, project: str, members: tuple[str, ...]) -> None:
    """Assign clusters to a project; each belongs to one."""
    with client_for(layout) as client:
        found = find_project(client, project)
        urns = [URN + find_cluster(client, member)["id"] for member in members]
        client.request("POST", path(RESOURCES, found["id"]), json={"resources": urns})
        printer.done(f"Assigned {', '.join(members)} to project {found['name']}", found, DETAILS)
