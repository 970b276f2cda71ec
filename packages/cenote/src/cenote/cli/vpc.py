"""``cenote vpc``: VPCs, which are labels only: they do not isolate clusters."""

from __future__ import annotations

import click

from cenote.cli import suggestions
from cenote.cli.data_dir import data_dir
from cenote.cli.lookup import find_vpc
from cenote.cli.plain_requests import given, listed, path
from cenote.cli.printer import Printer, confirm, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

VPCS, VPC = "/v2/vpcs", "/v2/vpcs/{}"
COLUMNS = {"NAME": "name", "REGION": "region", "RANGE": "ip_range", "DEFAULT": "default", "ID": "id"}
DETAILS = {
    "Name": "name",
    "ID": "id",
    "Region": "region",
    "Range": "ip_range",
    "Default": "default",
    "Description": "description",
    "Created": "created_at",
}


@click.group()
def command() -> None:
    """Create, list, update and delete VPCs, which are labels only."""


@command.command("list")
@data_dir
@output_options
def list_(layout: Layout, printer: Printer) -> None:
    """List VPCs, the default VPC of each region first."""
    with client_for(layout) as client:
        printer.show_all(list(listed(client, VPCS, "vpcs")), COLUMNS)


@command.command()
@data_dir
@output_options
@click.argument("name")
@click.option("--region", metavar="REGION", required=True, shell_complete=suggestions.regions, help="Region.")
@click.option("--ip-range", metavar="NETWORK", help="Range, such as 10.10.0.0/20.  [default: a free one]")
@click.option("--description", metavar="TEXT", help="Description of the VPC.")
def create(
    layout: Layout, printer: Printer, name: str, region: str, ip_range: str | None, description: str | None
) -> None:
    """Create a VPC."""
    body = given(name=name, region=region, ip_range=ip_range, description=description)
    with client_for(layout) as client:
        printer.show(client.request("POST", VPCS, json=body)["vpc"], DETAILS)


@command.command()
@data_dir
@output_options
@click.argument("vpc", shell_complete=suggestions.vpcs)
def get(layout: Layout, printer: Printer, vpc: str) -> None:
    """Show a VPC."""
    with client_for(layout) as client:
        found = find_vpc(client, vpc)
        printer.show(client.request("GET", path(VPC, found["id"]))["vpc"], DETAILS)


@command.command()
@data_dir
@output_options
@click.argument("vpc", shell_complete=suggestions.vpcs)
@click.option("--name", metavar="NAME", help="New name.")
@click.option("--description", metavar="TEXT", help="New description.")
def update(layout: Layout, printer: Printer, vpc: str, name: str | None, description: str | None) -> None:
    """Update the name or the description of a VPC."""
    body = given(name=name, description=description)
    if not body:
        raise click.UsageError("nothing to update; specify --name or --description")
    with client_for(layout) as client:
        id = find_vpc(client, vpc)["id"]
        printer.show(client.request("PUT", path(VPC, id), json=body)["vpc"], DETAILS)


@command.command()
@data_dir
@output_options
@click.argument("vpc", shell_complete=suggestions.vpcs)
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
def delete(layout: Layout, printer: Printer, vpc: str, yes: bool) -> None:
    """Delete a VPC that has no clusters."""
    with client_for(layout) as client:
        found = find_vpc(client, vpc)
        confirm(f"Delete VPC {found['name']}?", yes)
        client.request("DELETE", path(VPC, found["id"]))
        printer.done(f"Deleted VPC {found['name']}", {"id": found["id"], "name": found["name"]})
