"""``cenote cluster``: create, list, get, resize, configure and delete clusters; show their logs."""

from __future__ import annotations

import json
from typing import Any, cast

import click

from cenote.cli.cluster_argument import cluster_argument, find_cluster
from cenote.cli.data_dir import data_dir
from cenote.cli.logs import logs
from cenote.cli.online_wait import wait_until_online
from cenote.cli.printer import Printer, confirm, note, output_options, with_present
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


@click.group()
def command() -> None:
    """Create, list, resize, configure and delete clusters; show their logs."""


command.add_command(logs)


@command.command()
@data_dir
@output_options
@click.argument("name")
@click.option(
    "--size",
    metavar="SIZE",
    default=DEFAULT_SIZE,
    show_default=True,
    help="Size; 'cenote options' lists all.",
)
@click.option("--version", metavar="MAJOR", help="PostgreSQL major version.  [default: newest installed]")
@click.option(
    "--region", metavar="REGION", default=DEFAULT_REGION, show_default=True, help="Region, a label only."
)
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Tag; repeatable.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the cluster is online.")
def create(
    layout: Layout,
    printer: Printer,
    name: str,
    size: str,
    version: str | None,
    region: str,
    tags: tuple[str, ...],
    no_wait: bool,
) -> None:
    """Create a cluster and wait until it is online."""
    body: Any = {"name": name, "engine": "pg", "num_nodes": 1, "size": size, "region": region}
    body |= {"version": version} if version else {}
    body |= {"tags": list(tags)} if tags else {}
    with client_for(layout) as client:
        made = client.databases.create_cluster(body)["database"]
        if not no_wait:
            made = wait_until_online(client, made["id"])
        printer.show(made, DETAIL_COLUMNS)
        note(f"Connect with 'cenote psql {name}'; get the connection string with 'cenote uri {name}'")


@command.command("list")
@data_dir
@output_options
@click.option("--tag", metavar="TAG", help="List only clusters with this tag.")
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
        printer.show(found, with_present(DETAIL_COLUMNS, [found], {"By SQL": "cenote.by_sql"}))


@command.command()
@cluster_argument
@click.argument("size")
@click.option("--storage-mib", metavar="MIB", type=int, help="Storage in MiB.  [default: that of the size]")
@click.option("--no-wait", is_flag=True, help="Do not wait until the resize is done.")
def resize(layout: Layout, cluster: str, size: str, storage_mib: int | None, no_wait: bool) -> None:
    """Change the size of a cluster; clients of its pools stay connected."""
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        body: Any = {"size": size, "num_nodes": found["num_nodes"]}
        body |= {"storage_size_mib": storage_mib} if storage_mib is not None else {}
        client.databases.update_cluster_size(found["id"], body)
        if not no_wait:
            wait_until_online(client, found["id"])
        note(f"{'Resizing' if no_wait else 'Resized'} cluster {found['name']} to {size}")


@command.command()
@cluster_argument
@output_options
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]…")
def config(layout: Layout, printer: Printer, cluster: str, settings: tuple[str, ...]) -> None:
    """Show the configuration of a cluster, or change parameters.

    Example: work_mem=16 pgbouncer.server_idle_timeout=60.  Values are parsed
    as JSON (16, true, ["a"]); anything else is a string.
    """
    with client_for(layout) as client:
        uuid = find_cluster(client, cluster)["id"]
        if settings:
            client.databases.patch_config(uuid, cast(Any, {"config": _configuration(settings)}))
        shown: dict[str, Any] = dict(client.databases.get_config(uuid)["config"])
        printer.show(shown, {name: name for name in shown})


@command.command()
@cluster_argument
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
def delete(layout: Layout, cluster: str, yes: bool) -> None:
    """Delete a cluster and all its data."""
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        confirm(f"Delete cluster {found['name']} ({found['id']}) and all its data?", yes)
        client.databases.destroy_cluster(found["id"])
        note(f"Deleted cluster {found['name']}")


def _configuration(settings: tuple[str, ...]) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{setting!r} is not of the form KEY=VALUE")
        inner, outer = wanted, name.split(".")
        for step in outer[:-1]:
            inner = inner.setdefault(step, {})
        try:
            inner[outer[-1]] = json.loads(text)
        except ValueError:
            inner[outer[-1]] = text
    return wanted
