"""``cenote host unknown`` and ``cenote host trash``: what is on this machine and in no record.

They read and change the data directory, and need no service that runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any, TypeVar
from uuid import UUID

import click

from cenote.cli.data_dir import data_dir
from cenote.cli.printer import CommandError, Printer, confirm, note, output_options
from cenote.host import trash, unknown
from cenote.host.trash import Entry
from cenote.host.unknown import UnknownNode
from cenote.model.paths import Layout
from cenote.server import bootstrap

F = TypeVar("F", bound=Callable[..., Any])

UNKNOWN_COLUMNS = {
    "CLUSTER": "cluster",
    "NODE": "node",
    "SINCE": "since",
    "WHY": "why",
    "FOLDER": "folder",
}
TRASH_COLUMNS = {
    "NAME": "name",
    "CLUSTER": "cluster_name",
    "SINCE": "since",
    "WHY": "why",
    "FOLDER": "folder",
}
_REMOVAL_SECONDS = 120.0  # for the servers to end in order
_PAUSE = 0.1


def _in_own_directory(function: F) -> F:
    """Say who may run a command on the data directory when its files are another user's."""

    @wraps(function)
    def run(layout: Layout, **given: Any) -> Any:
        try:
            return function(layout=layout, **given)
        except PermissionError as error:
            raise CommandError(
                f"{error.filename or layout.data_dir} is another user's; run this as the user of the service"
            ) from None

    return run  # type: ignore[return-value]


@click.group("unknown")
def unknown_command() -> None:
    """List and remove what runs on this machine and is in no record.

    It is left as it is: the store may be an older copy or another one, and this the only data that there is.
    """


@unknown_command.command("list")
@data_dir
@output_options
@_in_own_directory
def list_unknown(layout: Layout, printer: Printer) -> None:
    """List the nodes in the data directory that no record has on this host, as the service has found them."""
    found = unknown.read(layout)
    if printer.prose and not found:
        click.echo("Nothing here is unknown")
        return
    printer.show_all([_unknown_view(one) for one in found], UNKNOWN_COLUMNS)


@unknown_command.command("remove")
@click.argument("cluster", type=click.UUID)
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
@data_dir
@output_options
@_in_own_directory
def remove_unknown(layout: Layout, printer: Printer, cluster: UUID, yes: bool) -> None:
    """Stop the unknown nodes of CLUSTER, an id, and move them to the trash.

    With --trash-days 0 they are removed for good.  What a record names by then stays.
    """
    found = [one for one in unknown.read(layout) if one.cluster == cluster]
    if not found:
        raise CommandError(
            f"No unknown cluster {cluster} is here. 'cenote host unknown list' lists those that are."
        )
    confirm(f"Stop cluster {cluster} on this machine and move its data to the trash?", yes)
    unknown.mark_unwanted(layout.cluster(cluster))
    if bootstrap.serving_pid(layout) is None:
        note("No service runs here; the next one removes it.")
    elif not _is_gone(layout, cluster):
        raise CommandError(f"Cluster {cluster} is not removed yet; see the service's log.")
    printer.done(f"Cluster {cluster} removed", _unknown_view(found[0]), UNKNOWN_COLUMNS)


def _is_gone(layout: Layout, cluster: UUID) -> bool:
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while any(one.cluster == cluster for one in unknown.read(layout)):
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


@click.group("trash")
def trash_command() -> None:
    """List and empty the trash of this machine.

    The data of clusters that have left this host stays there for some days (--trash-days of 'cenote serve').
    """


@trash_command.command("list")
@data_dir
@output_options
@_in_own_directory
def list_trash(layout: Layout, printer: Printer) -> None:
    """List what is in the trash of this machine, the oldest first."""
    found = trash.entries(layout)
    if printer.prose and not found:
        click.echo("The trash is empty")
        return
    printer.show_all([_trash_view(entry) for entry in found], TRASH_COLUMNS)


@trash_command.command("empty")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
@data_dir
@output_options
@_in_own_directory
def empty_trash(layout: Layout, printer: Printer, names: tuple[str, ...], yes: bool) -> None:
    """Remove what is in the trash of this machine for good, or only what is listed under these NAMEs."""
    found = [entry for entry in trash.entries(layout) if not names or entry.name in names]
    missing = set(names) - {entry.name for entry in found}
    if missing:
        raise CommandError(f"Not in the trash: {', '.join(sorted(missing))}.")
    if found:
        confirm(f"Remove {len(found)} clusters' data in {layout.trash} for good?", yes)
    for entry in found:
        trash.remove(entry)
    if printer.prose:
        click.echo(f"{len(found)} removed from the trash")
    else:
        printer.show_all([_trash_view(entry) for entry in found], TRASH_COLUMNS)


def _unknown_view(one: UnknownNode) -> dict[str, Any]:
    return {
        "cluster": str(one.cluster),
        "node": one.node,
        "since": _time(one.since),
        "why": one.why,
        "folder": one.folder,
    }


def _trash_view(entry: Entry) -> dict[str, Any]:
    known = entry.note
    return {
        "name": entry.name,
        "cluster": None if known is None else str(known.cluster),
        "cluster_name": None if known is None else known.name,
        "node": None if known is None else known.node,
        "since": _time(entry.at),
        "why": None if known is None else known.why,
        "folder": str(entry.path),
    }


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
