"""``cenote cluster logs``: the log of a cluster's PostgreSQL or PgBouncer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import click

from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.lookup import find_cluster
from cenote.cli.printer import Printer, output_options
from cenote.cli.service_client import client_for
from cenote.logs.terminal_text import printable
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client.types import LogMessage, LogSource

_POLL_SECONDS = 1.0
_MAX_LINES = 1_000  # lines per response


COLUMNS = {"WHEN": "at", "SEVERITY": "severity", "PROCESS": "process", "TEXT": "text"}


@click.command()
@cluster_argument
@output_options
@click.option(
    "--source",
    type=click.Choice(["postgres", "pgbouncer"]),
    default="postgres",
    show_default=True,
    help="Server whose log is shown.",
)
@click.option(
    "--lines",
    metavar="N",
    type=click.IntRange(1, _MAX_LINES),
    default=100,
    show_default=True,
    help="Number of messages.",
)
@click.option("--follow", is_flag=True, help="Print new messages as they arrive, until Ctrl-C.")
def logs(layout: Layout, printer: Printer, cluster: str, source: str, lines: int, follow: bool) -> None:
    """Show the newest log messages of PostgreSQL or PgBouncer."""
    whose = cast("LogSource", source)
    with client_for(layout) as client:
        uuid = find_cluster(client, cluster)["id"]
        found = client.databases.get_logs(uuid, source=whose, lines=lines)["logs"]
        _print(printer, found["messages"], follow)
        while follow:
            if not found["messages"]:
                time.sleep(_POLL_SECONDS)
            found = client.databases.get_logs(uuid, source=whose, lines=_MAX_LINES, after=found["next"])[
                "logs"
            ]
            _print(printer, found["messages"], follow)


def _print(printer: Printer, messages: Sequence[LogMessage], follow: bool) -> None:
    if not printer.prose:
        if follow:
            printer.show_more(messages, COLUMNS, [])
        else:
            printer.show_all(messages, COLUMNS)
        return
    for message in messages:
        process = "-" if message["process"] is None else message["process"]
        # Servers log the name in a failed login verbatim, and anyone who reaches the port can choose it.
        text = printable(message["text"], kept="\n\t")
        click.echo(f"{message['at'] or '-'} [{process}] {text}")
