"""``cenote cluster``: create, list, get, resize, move, upgrade, delete clusters; their settings and logs."""

from __future__ import annotations

from typing import Any

import click

from cenote.cli import suggestions
from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.cluster_config import config
from cenote.cli.cluster_deletion import delete, deleted, undelete
from cenote.cli.cluster_fork import fork
from cenote.cli.cluster_move import MOVE_COLUMNS, move
from cenote.cli.cluster_nodes import SWITCH_COLUMNS, nodes, switchover
from cenote.cli.cluster_protection import protect, unprotect
from cenote.cli.cluster_protection import undelete_days as undelete_days_command
from cenote.cli.cluster_recovery import recover
from cenote.cli.cluster_settings import autoscale, hostnames, maintenance
from cenote.cli.cluster_upgrade import upgrade
from cenote.cli.data_dir import data_dir
from cenote.cli.logs import logs
from cenote.cli.lookup import find_cluster, find_project, find_vpc
from cenote.cli.online_wait import wait_until_online
from cenote.cli.printer import Printer, note, output_options, with_present
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

DEFAULT_SIZE, DEFAULT_REGION = "db-s-1vcpu-1gb", "nyc1"
LIST_COLUMNS = {
    "NAME": "name",
    "STATUS": "status",
    "HEALTH": "cenote.health",
    "VERSION": "version",
    "SIZE": "size",
    "REGION": "region",
    "HOST": "connection.host",
    "PORT": "connection.port",
    "ID": "id",
}
DETAIL_COLUMNS = {
    "Name": "name",
    "ID": "id",
    "Status": "status",
    "Health": "cenote.health",
    "Since": "cenote.since",
    "Reason": "cenote.reason",
    "Pending": "cenote.not_in_force",
    "Version": "semantic_version",
    "Size": "size",
    "Region": "region",
    "Host": "connection.host",
    "Port": "connection.port",
    "Databases": "db_names",
    "Tags": "tags",
    "Created": "created_at",
}
PROTECTED = {"Protected from deletion": "cenote.delete_protection"}
SOMETIMES = (
    MOVE_COLUMNS | SWITCH_COLUMNS | {"Undelete days": "cenote.undelete_days", "By SQL": "cenote.by_sql"}
)


@click.group()
def command() -> None:
    """Create, list, resize, configure and delete clusters; show their logs."""


for other in (
    *(autoscale, config, delete, deleted, fork, hostnames, logs, maintenance, move, nodes),
    *(protect, recover, switchover, undelete, undelete_days_command, unprotect, upgrade),
):
    command.add_command(other)


@command.command()
@data_dir
@output_options
@click.argument("name")
@click.option(
    "--size",
    metavar="SIZE",
    default=DEFAULT_SIZE,
    show_default=True,
    shell_complete=suggestions.sizes,
    help="Size; 'cenote options' lists all.",
)
@click.option("--nodes", metavar="N", type=int, default=1, show_default=True, help="Number of nodes.")
@click.option("--storage-mib", metavar="MIB", type=int, help="Storage in MiB.  [default: that of the size]")
@click.option(
    "--version",
    metavar="MAJOR",
    shell_complete=suggestions.versions,
    help="PostgreSQL major version.  [default: newest installed]",
)
@click.option(
    "--region",
    metavar="REGION",
    default=DEFAULT_REGION,
    show_default=True,
    shell_complete=suggestions.regions,
    help="Region, a label only.",
)
@click.option(
    "--tag", "tags", metavar="TAG", multiple=True, shell_complete=suggestions.tags, help="Tag; repeatable."
)
@click.option(
    "--trusted-source",
    "sources",
    metavar="ADDRESS",
    multiple=True,
    help="Address or network that may connect; repeatable.  [default: all, with a password]",
)
@click.option("--project", metavar="PROJECT", shell_complete=suggestions.projects, help="Project.")
@click.option("--vpc", metavar="VPC", shell_complete=suggestions.vpcs, help="VPC, a label only.")
@click.option("--host", metavar="HOST", help="Host to place it on, by name or ID.  [default: chosen]")
@click.option("--zone", metavar="ZONE", help="Zone of hosts to place it in.  [default: any]")
@click.option("--protect", is_flag=True, help="Protect it from deletion.")
@click.option(
    "--undelete-days",
    metavar="N",
    type=click.IntRange(min=0, max=3650),
    help="How long it can be undeleted once it is deleted.  [default: as the service says]",
)
@click.option("--distinct-hosts", is_flag=True, help="Refuse nodes that would share a host.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the cluster is online.")
def create(
    layout: Layout,
    printer: Printer,
    *,
    name: str,
    size: str,
    nodes: int,
    storage_mib: int | None,
    version: str | None,
    region: str,
    tags: tuple[str, ...],
    sources: tuple[str, ...],
    project: str | None,
    vpc: str | None,
    host: str | None,
    zone: str | None,
    protect: bool,
    undelete_days: int | None,
    distinct_hosts: bool,
    no_wait: bool,
) -> None:
    """Create a cluster and wait until it is online."""
    body: Any = {"name": name, "engine": "pg", "num_nodes": nodes, "size": size, "region": region}
    body |= {"version": version} if version else {}
    body |= {"storage_size_mib": storage_mib} if storage_mib is not None else {}
    body |= {"tags": list(tags)} if tags else {}
    body |= {"rules": [{"type": "ip_addr", "value": source} for source in sources]} if sources else {}
    wish: dict[str, Any] = {
        key: value
        for key, value in (
            *(("host", host), ("zone", zone), ("delete_protection", protect)),
            ("distinct_hosts", distinct_hosts),
        )
        if value
    }
    wish |= {"undelete_days": undelete_days} if undelete_days is not None else {}
    body |= {"cenote": wish} if wish else {}
    with client_for(layout) as client:
        body |= {"project_id": find_project(client, project)["id"]} if project else {}
        body |= {"private_network_uuid": find_vpc(client, vpc)["id"]} if vpc else {}
        made = client.databases.create_cluster(body)["database"]
        if not no_wait:
            made = wait_until_online(client, made["id"])
        printer.show(made, DETAIL_COLUMNS)
        note(f"Connect with 'cenote psql {name}'; get the connection string with 'cenote uri {name}'")


@command.command("list")
@data_dir
@output_options
@click.option(
    "--tag", metavar="TAG", shell_complete=suggestions.tags, help="List only clusters with this tag."
)
def list_(layout: Layout, printer: Printer, tag: str | None) -> None:
    """List clusters."""
    with client_for(layout) as client:
        found = list(client.databases.iter_clusters(tag_name=tag))
        printer.show_all(found, LIST_COLUMNS)
        if not found and tag is None:
            note("No clusters. Create one with 'cenote cluster create NAME'")


@command.command()
@cluster_argument
@output_options
def get(layout: Layout, printer: Printer, cluster: str) -> None:
    """Show the details of a cluster."""
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        printer.show(
            found,
            with_present(DETAIL_COLUMNS | PROTECTED, [found], SOMETIMES),
        )


@command.command()
@cluster_argument
@output_options
@click.argument("size", shell_complete=suggestions.sizes)
@click.option("--storage-mib", metavar="MIB", type=int, help="Storage in MiB.  [default: that of the size]")
@click.option("--nodes", metavar="N", type=int, help="Number of nodes.  [default: as now]")
@click.option("--no-wait", is_flag=True, help="Do not wait until the resize is done.")
def resize(
    layout: Layout,
    printer: Printer,
    cluster: str,
    size: str,
    storage_mib: int | None,
    nodes: int | None,
    no_wait: bool,
) -> None:
    """Change the size of a cluster; clients of its pools stay connected."""
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        body: Any = {"size": size, "num_nodes": found["num_nodes"] if nodes is None else nodes}
        body |= {"storage_size_mib": storage_mib} if storage_mib is not None else {}
        client.databases.update_cluster_size(found["id"], body)
        if not no_wait:
            wait_until_online(client, found["id"])
        text = f"{'Resizing' if no_wait else 'Resized'} cluster {found['name']} to {size}"
        printer.done(text, client.databases.get_cluster(found["id"])["database"], DETAIL_COLUMNS)


@command.command()
@cluster_argument
@output_options
@click.argument("region", shell_complete=suggestions.regions)
@click.option("--vpc", metavar="VPC", shell_complete=suggestions.vpcs, help="VPC of that region.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the move is done.")
def migrate(
    layout: Layout, printer: Printer, cluster: str, region: str, vpc: str | None, no_wait: bool
) -> None:
    """Move a cluster to another region, which is only a label: its servers stay on their host."""
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        body: Any = {"region": region}
        body |= {"private_network_uuid": find_vpc(client, vpc)["id"]} if vpc else {}
        client.databases.update_region(found["id"], body)
        if not no_wait:
            wait_until_online(client, found["id"])
        text = f"{'Moving' if no_wait else 'Moved'} cluster {found['name']} to {region}"
        printer.done(text, client.databases.get_cluster(found["id"])["database"], DETAIL_COLUMNS)


@command.command("install-update")
@cluster_argument
@output_options
def install_update(layout: Layout, printer: Printer, cluster: str) -> None:
    """Restart the servers of a cluster that run an outdated program, now instead of in the window."""
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        client.databases.install_update(found["id"])
        text = f"Installing updates of cluster {found['name']}; 'cenote cluster get' shows what is pending"
        printer.done(text, client.databases.get_cluster(found["id"])["database"], DETAIL_COLUMNS)
