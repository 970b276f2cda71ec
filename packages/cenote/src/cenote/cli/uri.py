"""``cenote uri``: connection strings in the formats of drivers and frameworks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cenote.cli import suggestions
from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.lookup import find_cluster
from cenote.cli.printer import CommandError, Printer, output_options
from cenote.cli.service_client import client_for
from cenote.model import connection_formats
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client import Client
    from cenote_client.types import Cluster, Connection


def connection_target(
    client: Client, cluster: Cluster, pool: str | None, authority: Path | None = None
) -> connection_formats.Target:
    """Return the connection parameters of a cluster or one of its pools."""
    if pool is None:
        connection = cluster["connection"]
    else:
        connection = client.databases.get_connection_pool(cluster["id"], pool)["pool"]["connection"]
    if "user" not in connection:
        raise CommandError("the token cannot read passwords; it lacks the scope database:view_credentials")
    if "password" not in connection:
        raise CommandError(
            f"the password of user {connection['user']!r} was set by SQL, so it is not known here; "
            f"'cenote user reset {cluster['name']} {connection['user']}' draws a new one"
        )
    return connection_formats.Target(
        host=connection["host"],
        port=connection["port"],
        database=connection["database"],
        user=connection["user"],
        password=connection["password"],
        authority=None if authority is None else str(authority.absolute()),
        hosts=_hosts(cluster, connection, pool),
        direct=pool is None,
    )


def _hosts(cluster: Cluster, connection: Connection, pool: str | None) -> tuple[tuple[str, int], ...]:
    """Return all hosts of a cluster with the port to connect to; a former service names one only."""
    found = cluster["cenote"].get("uris")
    if found is None:
        return ((connection["host"], connection["port"]),)
    return tuple((host["host"], host["port" if pool is None else "pool_port"]) for host in found["hosts"])


@click.command()
@cluster_argument
@output_options
@click.option("--pool", metavar="POOL", shell_complete=suggestions.pools, help="Connect through this pool.")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(connection_formats.FORMATS)),
    default="libpq",
    show_default=True,
    help="Format: a driver or framework.",
)
@click.option(
    "--ca",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CA certificate file from 'cenote ca'; adds sslmode=verify-full.",
)
def command(
    layout: Layout, printer: Printer, cluster: str, pool: str | None, form: str, ca: Path | None
) -> None:
    """Print the connection string of a cluster or pool, including the password."""
    with client_for(layout) as client:
        target = connection_target(client, find_cluster(client, cluster), pool, ca)
    text = connection_formats.FORMATS[form](target)
    printer.text(text, {"uri": text, "format": form})
