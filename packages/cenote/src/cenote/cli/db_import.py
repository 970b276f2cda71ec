"""``cenote db import``: a database of another PostgreSQL server into a cluster.

The command gets the access to the cluster and shows progress and report; ``cenote.importing`` does the rest.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cenote.cli.ca import ca_certificate
from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.lookup import find_cluster
from cenote.cli.printer import CommandError, Printer, confirm, note, output_options
from cenote.cli.service_client import client_for
from cenote.cli.uri import connection_target
from cenote.errors import CenoteError
from cenote.logs.terminal_text import printable
from cenote.model.paths import Layout
from cenote_client import APIError, BadRequestError, Client, InvalidError
from cenote_client import CenoteError as ClientError

if TYPE_CHECKING:
    from cenote.importing.flow import Import, Options
    from cenote.importing.report import Report

_COLUMNS = {"Cluster": "cluster", "Database": "database", "Status": "status", "Tables": "tables"}
_INTERRUPTED = 130
_NAME_SECONDS = 120
_PRECONDITION_FAILED = 412


@click.command("import")
@cluster_argument
@output_options
@click.argument("database", required=False)
@click.option(
    "--from",
    "uri",
    metavar="URI",
    required=True,
    envvar="CENOTE_IMPORT_FROM",
    help="The source, with its direct port: a URI or key=value pairs; PGPASSWORD and ~/.pgpass are read.",
)
@click.option(
    "--roles",
    type=click.Choice(["create", "none"]),
    default="create",
    show_default=True,
    help="create: make users of the source's owners and grantees, with new passwords. none: everything"
    " belongs to the database's owner.",
)
@click.option(
    "--owner", metavar="USER", help="Owner of a database that is created.  [default: as on the source]"
)
@click.option(
    "--jobs", "-j", type=click.IntRange(1, 32), default=2, show_default=True, help="Tables at a time."
)
@click.option(
    "--dump-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Where the dump is written while the import runs.  [default: the system's temporary folder]",
)
@click.option("--check", "--dry-run", "check", is_flag=True, help="Only say what would be done and left out.")
@click.option("--verify", is_flag=True, help="Compare the row counts of all tables, and all sequences.")
@click.option("--replace", is_flag=True, help="Delete the database first if it is not empty.")
@click.option("--into-non-empty", is_flag=True, help="Import although the database is not empty.")
@click.option("--partial", is_flag=True, help="Import although tables have to be left out.")
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt of --replace.")
def command(layout: Layout, printer: Printer, cluster: str, **given: Any) -> None:
    """Import a database from another PostgreSQL server.

    DATABASE is created if the cluster does not have it; its default is the name on the source.
    """
    if given["replace"] and given["into_non_empty"]:
        raise click.UsageError("--replace and --into-non-empty exclude each other")
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # as nohup(1) does
            signal.signal(ending, signal.default_int_handler)
    yes = given.pop("yes")
    with client_for(layout) as client, tempfile.TemporaryDirectory(prefix="cenote-ca-") as folder:
        job, options = _job(client, cluster, Path(folder), given)
        report = _run(job, options, yes)
    _show(report, printer)
    if report.failed:
        sys.exit(1)


def _job(client: Client, name: str, folder: Path, given: dict[str, Any]) -> tuple[Import, Options]:
    from cenote.importing.flow import Import, Options
    from cenote.importing.progress import Progress
    from cenote.importing.target import Access

    found = find_cluster(client, name)
    authority = folder / "ca.crt"
    authority.write_text(ca_certificate(client, found["id"]))
    place = connection_target(client, found, None, authority)
    access = Access(place.host, place.port, place.user, place.password, str(authority))
    pools = client.databases.list_connection_pools(found["id"])["pools"]
    given["roles"] = given["roles"] == "create"
    options = Options(
        **{"check_only" if key == "check" else key: value for key, value in given.items()},
        storage=found["storage_size_mib"] << 20,
        pools=tuple(pool["name"] for pool in pools),
    )
    return Import(options, access, found["name"], _Service(client, found["id"]), Progress()), options


def _run(job: Import, options: Options, yes: bool) -> Report:
    """Run it; an end before its time says what is on the cluster."""
    import dataclasses

    import psycopg

    from cenote.importing.flow import PasswordWanted

    def ask(target: Any) -> None:
        confirm(f"Delete database {target.database} of cluster {target.cluster} and all its data?", yes)

    try:
        try:
            return job.run(ask)
        except PasswordWanted:
            if not sys.stdin.isatty():
                raise
            password = click.prompt("Password of the source", hide_input=True, err=True)
            job.options = dataclasses.replace(options, password=password)
            return job.run(ask)
    except (CenoteError, ClientError) as error:
        _say_what_is_there(job)
        raise error from None
    except psycopg.Error as error:
        _say_what_is_there(job)
        raise CommandError(printable(" ".join(str(error).split()))) from None
    except KeyboardInterrupt:
        note(f"Interrupted. {printable(job.state)}")
        sys.exit(_INTERRUPTED)


def _say_what_is_there(job: Import) -> None:
    if job.changed_something:
        note(printable(job.state))


def _show(report: Report, printer: Printer) -> None:
    if printer.format == "table" and not printer.fields:
        for line in report.lines():
            click.echo(line)
    else:
        printer.show(report.document(), _COLUMNS)


class _Service:
    """What an import asks of the API, for one cluster."""

    def __init__(self, client: Client, uuid: str) -> None:
        self._databases, self._uuid = client.databases, uuid

    def users(self) -> set[str]:
        return {user["name"] for user in self._databases.iter_users(self._uuid)}

    def databases(self) -> set[str]:
        return {database["name"] for database in self._databases.iter_dbs(self._uuid)}

    def add_user(self, name: str) -> str | None:
        """Create a user; return the reason if such a name, or one more user, is refused."""
        try:
            self._databases.add_user(self._uuid, {"name": name})
        except (BadRequestError, InvalidError) as error:
            return error.message
        return None

    def add_database(self, name: str, owner: str | None) -> None:
        """Create a database; the name of a deleted one is free once the server has dropped it."""
        deadline = time.monotonic() + _NAME_SECONDS
        while True:
            try:
                self._databases.add(
                    self._uuid, {"name": name, "cenote": {"owner": owner}} if owner else {"name": name}
                )
                return
            except APIError as error:
                if error.status != _PRECONDITION_FAILED or time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def delete_database(self, name: str) -> None:
        self._databases.delete(self._uuid, name)
