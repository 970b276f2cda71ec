"""``cenote migrate``: online migration of another PostgreSQL server's databases into a cluster."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.lookup import find_cluster
from cenote.cli.printer import CommandError, Printer, confirm, note, output_options
from cenote.cli.progress import wait_while
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout
from cenote_client import NotFoundError

if TYPE_CHECKING:
    from cenote_client import Client
    from cenote_client.types import OnlineMigrationStart

COLUMNS = {
    "ID": "id",
    "Status": "status",
    "Reason": "cenote.reason",
    "Source": "cenote.source.host",
    "Method": "cenote.method",
    "Lag in bytes": "cenote.lag_bytes",
    "Ending": "cenote.ending",
    "Started": "created_at",
}
DATABASE_COLUMNS = {
    "DATABASE": "name",
    "STEP": "step",
    "TABLES": "tables",
    "COPIED": "tables_copied",
    "BYTES": "bytes",
    "BYTES COPIED": "bytes_copied",
    "LAG BYTES": "lag_bytes",
    "LAG SECONDS": "lag_seconds",
}
OVER = ("canceled", "error", "done")
PORT = 5432


@click.group()
def command() -> None:
    """Copy the databases of another PostgreSQL server, and let them follow until you finish.

    The application goes on using the source meanwhile. At the end it is stopped, the migration finished,
    and the application started again with the cluster.
    """


@command.command()
@cluster_argument
@output_options
@click.option(
    "--from",
    "uri",
    metavar="URI",
    required=True,
    envvar="CENOTE_MIGRATE_FROM",
    help="The source: a URI or key=value pairs. Without a password, PGPASSWORD is used, or it is asked for.",
)
@click.option(
    "--ignore-db", "ignored", metavar="DATABASE", multiple=True, help="Leave a database out; repeatable."
)
@click.option("--disable-ssl", is_flag=True, help="Connect to the source without encryption.")
@click.option(
    "--replica-identity-full",
    is_flag=True,
    help="Have tables without a key follow, too, which changes them on the source until the end.",
)
@click.option("--no-wait", is_flag=True, help="Do not wait until the first copy is complete.")
def start(
    layout: Layout,
    printer: Printer,
    cluster: str,
    uri: str,
    ignored: tuple[str, ...],
    disable_ssl: bool,
    replica_identity_full: bool,
    no_wait: bool,
) -> None:
    """Start a migration, and wait until the first copy is complete and changes follow.

    What is in the way is said first. The databases are closed in CLUSTER until the migration is over.
    """
    body = wanted(uri, ignored, disable_ssl=disable_ssl, full=replica_identity_full)
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        migration: Any = client.databases.update_online_migration(found["id"], body)
        for warning in migration["cenote"]["warnings"]:
            note(f"Note: {warning}")
        if not no_wait:
            migration = _wait(
                client, found, "syncing", "done"
            )  # a source that cannot replicate: done at once
        printer.show(migration, COLUMNS)
        if migration["status"] == "syncing":
            note(
                "Changes follow. Stop all writes to the source, then run "
                f"'cenote migrate finish {found['name']}'"
            )


@command.command()
@cluster_argument
@output_options
@click.option("--databases", is_flag=True, help="List the databases instead, with how far each one is.")
def status(layout: Layout, printer: Printer, cluster: str, databases: bool) -> None:
    """Show how far the migration into a cluster is, or how the last one has ended."""
    with client_for(layout) as client:
        migration = _last(client, find_cluster(client, cluster))
        if databases:
            printer.show_all(migration["cenote"]["databases"], DATABASE_COLUMNS)
            return
        printer.show(migration, COLUMNS)
        for warning in migration["cenote"]["warnings"]:
            note(f"Note: {warning}")


@command.command()
@cluster_argument
@output_options
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the migration is over.")
def finish(layout: Layout, printer: Printer, cluster: str, yes: bool, no_wait: bool) -> None:
    """Finish a migration: take the last changes, sequences and large objects, and open the databases.

    Nothing may write to the source any more: what comes later is not taken.
    """
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        migration = _last(client, found)
        place = migration["cenote"]["source"]["host"]
        confirm(f"Finish the migration from {place}, which nothing writes to any more?", yes)
        migration = client.databases.finish_online_migration(found["id"], migration["id"])
        if not no_wait:
            migration = _wait(client, found, "done")
        text = "is done" if migration["status"] == "done" else "is being finished"
        printer.done(f"The migration from {place} into {found['name']} {text}", migration, COLUMNS)


@command.command()
@cluster_argument
@output_options
@click.option("--discard", is_flag=True, help="Remove what was copied into CLUSTER, however far it is.")
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the migration is over.")
def stop(layout: Layout, printer: Printer, cluster: str, discard: bool, yes: bool, no_wait: bool) -> None:
    """Stop a migration; nothing of it stays on the source.

    A cluster whose first copy is complete keeps what it has; before, and with --discard, that is removed.
    """
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        migration = _last(client, found)
        removed = discard or migration["status"] == "running"
        confirm(f"Stop the migration{', and remove what was copied' if removed else ''}?", yes)
        if discard:
            client.databases.discard_online_migration(found["id"], migration["id"])
        else:
            client.databases.delete_online_migration(found["id"], migration["id"])
        migration = _last(client, found) if no_wait else _wait(client, found, "canceled", "done")
        text = "is being stopped" if no_wait else "was stopped"
        printer.done(f"The migration into {found['name']} {text}", migration, COLUMNS)


def wanted(uri: str, ignored: tuple[str, ...], *, disable_ssl: bool, full: bool) -> OnlineMigrationStart:
    """Return the request for a source; CommandError for a URI that is none, or that lacks something."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        given: dict[str, Any] = conninfo_to_dict(uri)
    except psycopg.ProgrammingError as error:
        raise CommandError(f"--from: {str(error).strip()}") from None
    for key in ("host", "user"):
        if not given.get(key):
            raise CommandError(f"--from: the {key} of the source is missing; give postgresql://USER@HOST/")
    try:
        port = int(given.get("port") or PORT)
    except ValueError:
        raise CommandError("--from: a source has one port") from None
    place: Any = {
        "host": given["host"],
        "port": port,
        "username": given["user"],
        "password": _password(given),
    }
    if given.get("dbname"):
        place["dbname"] = given["dbname"]
    body: OnlineMigrationStart = {
        "source": place,
        "disable_ssl": disable_ssl or given.get("sslmode") == "disable",
        "ignore_dbs": list(ignored),
    }
    if full:
        body["cenote"] = {"replica_identity_full": True}
    return body


def _password(given: dict[str, Any]) -> str:
    found = given.get("password") or os.environ.get("PGPASSWORD")
    if found:
        return str(found)
    if not sys.stdin.isatty():
        raise CommandError("the source's password cannot be asked for (no terminal); set PGPASSWORD")
    text: str = click.prompt(f"Password of {given['user']}", hide_input=True, err=True)
    return text


def _last(client: Client, found: Any) -> Any:
    try:
        return client.databases.get_migration_status(found["id"])
    except NotFoundError:
        name = found["name"]
        raise CommandError(
            f"nothing was migrated into {name}; start with 'cenote migrate start {name} --from URI'"
        ) from None


def _wait(client: Client, found: Any, *wanted: str) -> Any:
    """Wait until the migration has one of these statuses; CommandError if it ends in another way."""

    def going_on(migration: Any) -> str | None:
        state = migration["status"]
        if state in wanted:
            return None
        if state in OVER:
            reason = migration["cenote"]["reason"] or "it was stopped"
            raise CommandError(f"the migration into {found['name']} has ended, {state}: {reason}")
        return _progress(migration)

    return wait_while(lambda: _last(client, found), going_on)


def _progress(migration: Any) -> str:
    """Return in a line what is being done, for the databases that are not complete yet."""
    details = migration["cenote"]
    parts = [
        f"{one['name']}: {one['step']}"
        + (f", {one['tables_copied']} of {one['tables']} tables" if one["step"] == "copying" else "")
        for one in details["databases"]
        if one["step"] not in ("waiting", "syncing", "done")
    ]
    said = "; ".join(parts) or migration["status"]
    return f"{said} ({details['reason']})" if details["reason"] else said
