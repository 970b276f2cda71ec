"""``cenote logsink``: where the logs of a cluster are forwarded to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cenote.cli import suggestions
from cenote.cli.cluster_argument import cluster_api, cluster_argument
from cenote.cli.lookup import find_sink
from cenote.cli.printer import Printer, confirm, note_not_in_force, note_pending, output_options
from cenote.model.paths import Layout

F = TypeVar("F", bound=Callable[..., Any])

TYPES = click.Choice(["rsyslog", "elasticsearch", "opensearch"])
COLUMNS = {
    "NAME": "sink_name",
    "TYPE": "sink_type",
    "STATE": "cenote.state",
    "REASON": "cenote.reason",
    "LAG (BYTES)": "cenote.lag_bytes",
    "ID": "sink_id",
}
DETAILS = {
    "Name": "sink_name",
    "ID": "sink_id",
    "Type": "sink_type",
    "Config": "config",
    "State": "cenote.state",
    "Reason": "cenote.reason",
    "Delivered": "cenote.delivered_at",
    "Lag (bytes)": "cenote.lag_bytes",
    "Lost (bytes)": "cenote.lost_bytes",
    "Refused": "cenote.refused_messages",
}
_FILES = ("ca", "cert", "key")


def config_options(function: F) -> F:
    """Add the options for the configuration of a sink, passed as ``given``."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True)
    options = (
        click.option("--server", metavar="HOST", help="rsyslog: host name or address."),
        click.option("--port", metavar="PORT", type=int, help="rsyslog: TCP port."),
        click.option("--tls/--no-tls", default=None, help="rsyslog: encrypt."),
        click.option(
            "--format",
            type=click.Choice(["rfc5424", "rfc3164", "custom"]),
            help="rsyslog: format of messages.",
        ),
        click.option("--logline", metavar="TEMPLATE", help="rsyslog: template of the format custom."),
        click.option("--sd", metavar="TEXT", help="rsyslog: structured data."),
        click.option(
            "--url", metavar="URL", help="elasticsearch, opensearch: without a password, see --config."
        ),
        click.option(
            "--index-prefix", metavar="PREFIX", help="elasticsearch, opensearch: start of index names."
        ),
        click.option(
            "--index-days-max", metavar="N", type=int, help="elasticsearch, opensearch: days to keep."
        ),
        click.option(
            "--timeout", metavar="SECONDS", type=float, help="elasticsearch, opensearch: of a request."
        ),
        click.option("--ca", type=file, metavar="FILE", help="CA certificate of the destination, in PEM."),
        click.option("--cert", type=file, metavar="FILE", help="rsyslog: client certificate, in PEM."),
        click.option("--key", type=file, metavar="FILE", help="rsyslog: key of --cert, in PEM."),
        click.option(
            "--config",
            type=file,
            metavar="FILE",
            help="JSON file with the whole configuration, also with a password; - is stdin.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.group()
def command() -> None:
    """Forward the logs of clusters: create, list, get, update and delete log sinks."""


@command.command("list")
@cluster_argument
@output_options
def list_(layout: Layout, printer: Printer, cluster: str) -> None:
    """List the log sinks of a cluster with their state of delivery."""
    with cluster_api(layout, cluster) as (databases, uuid):
        printer.show_all(databases.list_logsink(uuid)["sinks"], COLUMNS)


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.sinks)
def get(layout: Layout, printer: Printer, cluster: str, name: str) -> None:
    """Show a log sink, by its name or ID, with its state of delivery."""
    with cluster_api(layout, cluster) as (databases, uuid):
        id = find_sink(databases, uuid, name)["sink_id"]
        printer.show(databases.get_logsink(uuid, id), DETAILS)


@command.command()
@cluster_argument
@output_options
@click.argument("name")
@click.option("--type", type=TYPES, default="rsyslog", show_default=True, help="Kind of destination.")
@config_options
def create(layout: Layout, printer: Printer, cluster: str, name: str, type: str, **given: Any) -> None:
    """Create a log sink, which forwards the logs of a cluster from now on.

    Example: cenote logsink create backend central --server logs.example.com --port 6514 --tls
    """
    body: Any = {"sink_name": name, "sink_type": type, "config": _config(given, type)}
    with cluster_api(layout, cluster) as (databases, uuid):
        made = databases.create_logsink(uuid, body)
        printer.show(made["sink"], DETAILS)
        note_pending(made)


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.sinks)
@config_options
def update(layout: Layout, printer: Printer, cluster: str, name: str, **given: Any) -> None:
    """Update the given options of a log sink; undelivered messages go to the new destination.

    --config replaces the whole configuration.
    """
    with cluster_api(layout, cluster) as (databases, uuid):
        sink = find_sink(databases, uuid, name)
        before = {} if given["config"] else dict(sink["config"])
        wanted = _config(given)
        if not wanted:
            raise click.UsageError("nothing to update; specify an option of the destination")
        body: Any = {"config": before | wanted}
        databases.update_logsink(uuid, sink["sink_id"], body)
        note_not_in_force(databases.get_cluster(uuid)["database"])
        printer.done(f"Updated log sink {name}", databases.get_logsink(uuid, sink["sink_id"]), DETAILS)


@command.command()
@cluster_argument
@output_options
@click.argument("name", shell_complete=suggestions.sinks)
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
def delete(layout: Layout, printer: Printer, cluster: str, name: str, yes: bool) -> None:
    """Delete a log sink, by its name or ID."""
    with cluster_api(layout, cluster) as (databases, uuid):
        sink = find_sink(databases, uuid, name)
        confirm(f"Delete log sink {sink['sink_name']} of cluster {cluster}?", yes)
        databases.delete_logsink(uuid, sink["sink_id"])
        item = {"sink_id": sink["sink_id"], "sink_name": sink["sink_name"]}
        printer.done(f"Deleted log sink {sink['sink_name']}", item)


def _config(given: dict[str, Any], type: str = "") -> dict[str, Any]:
    """Return the configuration that the options describe."""
    found: dict[str, Any] = {}
    if given["config"] is not None:
        try:
            found = json.loads(_read(given["config"]))
        except ValueError as error:
            raise click.UsageError(f"--config: {given['config']} is not JSON: {error}") from None
        if not isinstance(found, dict):
            raise click.UsageError(f"--config: {given['config']} is not a JSON object")
    elif type == "rsyslog":
        found = {"format": "rfc5424"}
    for name, value in given.items():
        if value is not None and name != "config":
            found[name] = _read(value) if name in _FILES else value
    if "@" in (given["url"] or ""):
        raise click.UsageError(
            "--url: other users of this machine can read a password in an argument; "
            "give a file with the whole configuration with --config"
        )
    return found


def _read(path: Path) -> str:
    with click.open_file(str(path)) as file:
        return str(file.read())
