"""``cenote pool``: create, list, get, monitor, update, reconnect and delete connection pools."""

from __future__ import annotations

from typing import Any

import click

from cenote.cli import suggestions
from cenote.cli.cluster_argument import cluster_api, cluster_argument
from cenote.cli.pool_history import HISTORY, history_rows
from cenote.cli.pool_top import watch
from cenote.cli.printer import (
    SQL_COLUMNS,
    SQL_DETAILS,
    CommandError,
    Printer,
    confirm,
    note,
    note_not_in_force,
    note_pending,
    output_options,
    with_present,
)
from cenote.model.paths import Layout
from cenote_client import NotFoundError

RECONNECTED = {"POOL": "pool", "LEFT": "connections_left"}
MODES = click.Choice(["transaction", "session", "statement"])
LIST_COLUMNS = {
    "NAME": "name",
    "MODE": "mode",
    "SIZE": "size",
    "DATABASE": "db",
    "USER": "user",
    "HOST": "connection.host",
    "PORT": "connection.port",
}
STATS = {
    "NAME": "name",
    "SIZE": "size",
    "POOLERS": "poolers",
    "CLIENTS": "clients.active",
    "WAITING": "clients.waiting",
    "SERVERS": "servers.active",
    "IDLE": "servers.idle",
    "TRANSACTIONS": "since_start.transactions",
    "QUERIES": "since_start.queries",
}
ADVICE = {"POOL": "pool", "SEVERITY": "severity", "ADVICE": "sentence"}
DETAIL_COLUMNS = {heading.capitalize(): field for heading, field in LIST_COLUMNS.items()}


@click.group()
def command() -> None:
    """Create, list, monitor, update and delete connection pools."""


@command.command()
@cluster_argument
@output_options
@click.argument("name")
@click.option(
    "--size",
    metavar="N",
    type=int,
    default=10,
    show_default=True,
    help="Maximum number of server connections.",
)
@click.option("--mode", type=MODES, default="transaction", show_default=True, help="Pool mode.")
@click.option(
    "--db",
    metavar="DATABASE",
    default="defaultdb",
    show_default=True,
    shell_complete=suggestions.databases,
    help="Database.",
)
@click.option(
    "--user",
    metavar="USER",
    default="doadmin",
    show_default=True,
    shell_complete=suggestions.users,
    help="User; empty: the client's own login user.",
)
def create(
    layout: Layout, printer: Printer, cluster: str, name: str, size: int, mode: str, db: str, user: str
) -> None:
    """Create a connection pool; it is ready when the command returns."""
    body: Any = {"name": name, "size": size, "mode": mode, "db": db, "user": user}
    with cluster_api(layout, cluster) as (databases, uuid):
        made = databases.add_connection_pool(uuid, body)
        printer.show(made["pool"], DETAIL_COLUMNS)
        if note_pending(made):
            note(f"Connect with 'cenote psql {cluster} --pool {name}'")


@command.command("list")
@cluster_argument
@output_options
def list_(layout: Layout, printer: Printer, cluster: str) -> None:
    """List the pools of a cluster."""
    with cluster_api(layout, cluster) as (databases, uuid):
        pools = list(databases.iter_connection_pools(uuid))
        printer.show_all(pools, with_present(LIST_COLUMNS, pools, SQL_COLUMNS))


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.pools)
def get(layout: Layout, printer: Printer, cluster: str, name: str) -> None:
    """Show the details of a pool."""
    with cluster_api(layout, cluster) as (databases, uuid):
        pool = databases.get_connection_pool(uuid, name)["pool"]
        printer.show(pool, with_present(DETAIL_COLUMNS, [pool], SQL_DETAILS))


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.pools)
@click.option("--size", metavar="N", type=int, help="Maximum number of server connections.")
@click.option("--mode", type=MODES, help="Pool mode.")
@click.option("--db", metavar="DATABASE", shell_complete=suggestions.databases, help="Database.")
@click.option(
    "--user",
    metavar="USER",
    shell_complete=suggestions.users,
    help="User; empty: the client's own login user.",
)
def update(
    layout: Layout,
    printer: Printer,
    cluster: str,
    name: str,
    size: int | None,
    mode: str | None,
    db: str | None,
    user: str | None,
) -> None:
    """Update the given attributes of a pool; clients of other pools are not affected."""
    given = {"size": size, "mode": mode, "db": db, "user": user}
    wanted = {field: value for field, value in given.items() if value is not None}
    if not wanted:
        raise click.UsageError("nothing to update; specify --size, --mode, --db or --user")
    with cluster_api(layout, cluster) as (databases, uuid):
        before: Any = databases.get_connection_pool(uuid, name)["pool"]
        body: Any = {field: before[field] for field in given} | wanted
        databases.update_connection_pool(uuid, name, body)
        note_not_in_force(databases.get_cluster(uuid)["database"])
        text = f"Updated pool {name}: " + ", ".join(f"{field} {value}" for field, value in wanted.items())
        printer.done(text, databases.get_connection_pool(uuid, name)["pool"], DETAIL_COLUMNS)


@command.command()
@cluster_argument
@output_options
@click.argument("name", required=False, shell_complete=suggestions.pools)
@click.option("--all", "every", is_flag=True, help="All pools of the cluster.")
def reconnect(layout: Layout, printer: Printer, cluster: str, name: str | None, every: bool) -> None:
    """Replace the server connections of a pool, as after a change of its tables; clients stay connected.

    Each connection is replaced when its client releases it, and the command returns when all are, or after
    some seconds.
    """
    if (name is None) != every:
        raise click.UsageError("name a pool, or specify --all")
    with cluster_api(layout, cluster) as (databases, uuid):
        modes = {pool["name"]: pool["mode"] for pool in databases.iter_connection_pools(uuid)}
        replaced = []
        for pool in [name] if name is not None else list(modes):
            made = databases.reconnect_connection_pool(uuid, pool)
            if note_pending(made) and printer.prose:
                note(_reconnected(pool, modes.get(pool, ""), made["reconnect"]["connections_left"]))
            replaced.append(made["reconnect"])
    if every and not printer.prose:
        printer.show_all(replaced, RECONNECTED)
    elif not printer.prose:
        printer.show(replaced[0], RECONNECTED)


def _reconnected(pool: str, mode: str, left: int | None) -> str:
    if left == 0:
        return f"Replaced the server connections of pool {pool}"
    when = "its client disconnects" if mode == "session" else "its transaction ends"
    of_pool = f"server connections of pool {pool} still to be replaced, each when {when}"
    return f"The pooler does not tell the number of {of_pool}" if left is None else f"{left} {of_pool}"


@command.command()
@cluster_argument
@output_options
@click.argument("name", required=False, shell_complete=suggestions.pools)
def stats(layout: Layout, printer: Printer, cluster: str, name: str | None) -> None:
    """Show current statistics of all pools of a cluster, or of one."""
    with cluster_api(layout, cluster) as (databases, uuid):
        if name is None:
            all_found = databases.list_pool_stats(uuid)
            printer.show_all(all_found["stats"], STATS)
            _note_not_counted(all_found)
            return
        try:
            answered = databases.get_pool_stats(uuid, name)
        except NotFoundError:
            raise CommandError(
                f"pool {name!r} not found; list pools with 'cenote pool list {cluster}'"
            ) from None
        printer.show(answered["stats"], {heading.capitalize(): field for heading, field in STATS.items()})
        _note_not_counted(answered)


@command.command()
@cluster_argument
@click.option(
    "--every",
    metavar="SECONDS",
    type=click.FloatRange(0.2),
    default=1.0,
    show_default=True,
    help="Refresh interval in seconds.",
)
def top(layout: Layout, cluster: str, every: float) -> None:
    """Monitor the pools of a cluster live, until Ctrl-C."""
    with cluster_api(layout, cluster) as (databases, uuid):
        watch(lambda: databases.list_pool_stats(uuid), cluster, every)


@command.command()
@cluster_argument
@output_options
def advice(layout: Layout, printer: Printer, cluster: str) -> None:
    """Show recommendations for the pools of a cluster, from their recent activity."""
    with cluster_api(layout, cluster) as (databases, uuid):
        answered = databases.list_pool_advice(uuid)
    found: Any = answered["advice"]
    _note_not_counted(answered)
    if not printer.prose:
        printer.show_all(found, ADVICE)
        return
    for one in found:
        click.echo(f"{one.get('pool', cluster)}: {one['sentence']}")
        for action in one["actions"]:
            click.echo(f"  {action['words']}: {_command_for(cluster, action)}")
    if not found:
        note("No recommendations")


def _command_for(cluster: str, action: Any) -> str:
    """Return the command that applies a recommendation."""
    match action["kind"]:
        case "resize_pool":
            return f"cenote pool update {cluster} {action['pool']} --size {action['size']}"
        case "change_mode":
            return f"cenote pool update {cluster} {action['pool']} --mode {action['mode']}"
        case _:
            return f"cenote cluster resize {cluster} {action['cluster_size']}"


def _note_not_counted(answered: Any) -> None:
    for words in answered.get("not_counted", ()):
        note(f"Not counted: {words}")


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.pools)
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
def delete(layout: Layout, printer: Printer, cluster: str, name: str, yes: bool) -> None:
    """Delete a pool and disconnect its clients; data is kept."""
    with cluster_api(layout, cluster) as (databases, uuid):
        confirm(f"Delete pool {name} of cluster {cluster}?", yes)
        databases.delete_connection_pool(uuid, name)
        note_not_in_force(databases.get_cluster(uuid)["database"])
        printer.done(f"Deleted pool {name}", {"name": name})


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.pools)
@click.option(
    "--minutes",
    metavar="N",
    type=click.IntRange(1, 1440),
    default=15,
    show_default=True,
    help="How far back.",
)
@click.option(
    "--points",
    metavar="N",
    type=click.IntRange(1, 1440),
    default=15,
    show_default=True,
    help="Number of intervals.",
)
def history(layout: Layout, printer: Printer, cluster: str, name: str, minutes: int, points: int) -> None:
    """Show the history of a pool, oldest first; it begins when the service starts."""
    with cluster_api(layout, cluster) as (databases, uuid):
        answer: Any = databases.get_pool_history(uuid, minutes=minutes, points=points)
    found = next((pool for pool in answer["history"]["pools"] if pool["name"] == name), None)
    if found is None:
        raise CommandError(f"pool {name!r} not found; list pools with 'cenote pool list {cluster}'")
    printer.show_all(history_rows(found), HISTORY)
    _note_not_counted(answer["history"])
