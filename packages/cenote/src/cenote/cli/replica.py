"""``cenote replica``: create, list, get, resize, promote and delete the read replicas of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cenote.cli import suggestions
from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.lookup import find_cluster, find_vpc
from cenote.cli.online_wait import status_of, wait_until_online
from cenote.cli.printer import CommandError, Printer, confirm, note, output_options
from cenote.cli.progress import wait_while
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout
from cenote_client import NotFoundError

if TYPE_CHECKING:
    from cenote_client import Client
    from cenote_client.types import Replica, ReplicaCreate

LIST_COLUMNS = {
    "NAME": "name",
    "STATUS": "status",
    "HEALTH": "cenote.health",
    "SIZE": "size",
    "REGION": "region",
    "ON": "cenote.host",
    "LAG BYTES": "cenote.lag.bytes",
    "LAG SECONDS": "cenote.lag.seconds",
    "HOST": "connection.host",
    "PORT": "connection.port",
    "REASON": "cenote.reason",
}
DETAIL_COLUMNS = {
    "ID": "id",
    "Name": "name",
    "Status": "status",
    "Health": "cenote.health",
    "Reason": "cenote.reason",
    "Lag in bytes": "cenote.lag.bytes",
    "Lag in seconds": "cenote.lag.seconds",
    "Size": "size",
    "Storage in MiB": "storage_size_mib",
    "Region": "region",
    "On host": "cenote.host",
    "Host": "connection.host",
    "Port": "connection.port",
    "Tags": "tags",
    "Created": "created_at",
}


@click.group()
def command() -> None:
    """Create, list, resize, promote and delete read replicas.

    Other commands take a replica as CLUSTER/REPLICA, such as 'cenote pool create backend/reports web'.
    """


@command.command("list")
@cluster_argument
@output_options
def list_(layout: Layout, printer: Printer, cluster: str) -> None:
    """List the read replicas of a cluster, with how far they are behind."""
    with client_for(layout) as client:
        found = list(client.databases.iter_replicas(find_cluster(client, cluster)["id"]))
        printer.show_all(found, LIST_COLUMNS)
        if not found:
            note(f"No read replicas. Create one with 'cenote replica create {cluster} NAME'")


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.replicas)
def get(layout: Layout, printer: Printer, cluster: str, name: str) -> None:
    """Show a read replica."""
    with client_for(layout) as client:
        printer.show(_found(client, find_cluster(client, cluster), name), DETAIL_COLUMNS)


@command.command()
@cluster_argument
@output_options
@click.argument("name")
@click.option(
    "--size", metavar="SIZE", shell_complete=suggestions.sizes, help="Size.  [default: that of CLUSTER]"
)
@click.option(
    "--storage-mib", metavar="MIB", type=int, help="Storage in MiB.  [default: at least that of CLUSTER]"
)
@click.option(
    "--region",
    metavar="REGION",
    shell_complete=suggestions.regions,
    help="Region, a label only.  [default: that of CLUSTER]",
)
@click.option(
    "--tag", "tags", metavar="TAG", multiple=True, shell_complete=suggestions.tags, help="Tag; repeatable."
)
@click.option("--vpc", metavar="VPC", shell_complete=suggestions.vpcs, help="VPC, a label only.")
@click.option("--host", metavar="HOST", help="Host to place it on.  [default: another one than CLUSTER's]")
@click.option("--zone", metavar="ZONE", help="Zone of hosts to place it in.  [default: any]")
@click.option("--no-wait", is_flag=True, help="Do not wait until it is online.")
def create(
    layout: Layout,
    printer: Printer,
    *,
    cluster: str,
    name: str,
    size: str | None,
    storage_mib: int | None,
    region: str | None,
    tags: tuple[str, ...],
    vpc: str | None,
    host: str | None,
    zone: str | None,
    no_wait: bool,
) -> None:
    """Create a read replica of a cluster, and wait until it is online."""
    body: ReplicaCreate = {"name": name}
    if size is not None:
        body["size"] = size
    if region is not None:
        body["region"] = region
    if storage_mib is not None:
        body["storage_size_mib"] = storage_mib
    if tags:
        body["tags"] = list(tags)
    wish: Any = {key: value for key, value in (("host", host), ("zone", zone)) if value}
    if wish:
        body["cenote"] = wish
    with client_for(layout) as client:
        source = find_cluster(client, cluster)
        if vpc is not None:
            body["private_network_uuid"] = find_vpc(client, vpc)["id"]
        made = client.databases.create_replica(source["id"], body)["replica"]
        if not no_wait:
            wait_until_online(client, made["id"])
            made = _found(client, source, name)
        printer.show(made, DETAIL_COLUMNS)
        place = f"{source['name']}/{name}"
        note(f"Connect with 'cenote psql {place}'; get the connection string with 'cenote uri {place}'")


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.replicas)
@click.argument("size", shell_complete=suggestions.sizes)
@click.option("--storage-mib", metavar="MIB", type=int, help="Storage in MiB.  [default: that of the size]")
@click.option("--no-wait", is_flag=True, help="Do not wait until the resize is done.")
def resize(
    layout: Layout,
    printer: Printer,
    cluster: str,
    name: str,
    size: str,
    storage_mib: int | None,
    no_wait: bool,
) -> None:
    """Change the size of a read replica, which is at least that of its cluster."""
    body: Any = {"size": size, "num_nodes": 1}
    body |= {"storage_size_mib": storage_mib} if storage_mib is not None else {}
    with client_for(layout) as client:
        source = find_cluster(client, cluster)
        replica = _found(client, source, name)
        client.databases.update_cluster_size(replica["id"], body)
        if not no_wait:
            wait_until_online(client, replica["id"])
        text = f"{'Resizing' if no_wait else 'Resized'} replica {name} of cluster {source['name']} to {size}"
        printer.done(text, _found(client, source, name), DETAIL_COLUMNS)


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.replicas)
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
@click.option("--no-wait", is_flag=True, help="Do not wait until it takes writes.")
def promote(layout: Layout, printer: Printer, cluster: str, name: str, yes: bool, no_wait: bool) -> None:
    """Make a read replica a cluster of its own, which takes writes and follows CLUSTER no more."""
    with client_for(layout) as client:
        source = find_cluster(client, cluster)
        replica = _found(client, source, name)
        confirm(f"Promote replica {name}, which follows cluster {source['name']} no more then?", yes)
        client.databases.promote_replica(source["id"], name)
        if not no_wait:
            _wait_until_promoted(client, source, name)
            wait_until_online(client, replica["id"])
        text = f"Promoted replica {name}: it is a cluster of its own"
        if no_wait:
            text = f"Promoting replica {name}; see 'cenote replica list {source['name']}'"
        printer.done(text, client.databases.get_cluster(replica["id"])["database"], {})


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.replicas)
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
def delete(layout: Layout, printer: Printer, cluster: str, name: str, yes: bool) -> None:
    """Delete a read replica, with its pools; its cluster goes on."""
    with client_for(layout) as client:
        source = find_cluster(client, cluster)
        _found(client, source, name)
        confirm(f"Delete replica {name} of cluster {source['name']}, and disconnect its clients?", yes)
        client.databases.destroy_replica(source["id"], name)
        printer.done(f"Deleted replica {name}", {"name": name})


def _found(client: Client, source: Any, name: str) -> Replica:
    try:
        return client.databases.get_replica(source["id"], name)["replica"]
    except NotFoundError:
        raise CommandError(
            f"replica {name!r} not found; list replicas with 'cenote replica list {source['name']}'"
        ) from None


def _wait_until_promoted(client: Client, source: Any, name: str) -> None:
    """Wait until a replica is none any more, showing what it waits for."""

    def look() -> Any:
        try:
            return client.databases.get_replica(source["id"], name)["replica"]
        except NotFoundError:
            return None

    wait_while(look, lambda replica: None if replica is None else status_of(replica))
