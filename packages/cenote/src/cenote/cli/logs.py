"""``cenote cluster logs``: the logs of a cluster's PostgreSQL or PgBouncer, of all of its nodes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import click

from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.cluster_nodes import nodes_of
from cenote.cli.lookup import find_cluster
from cenote.cli.printer import CommandError, Printer, note, output_options
from cenote.cli.service_client import client_for
from cenote.logs.terminal_text import printable
from cenote.model.paths import Layout
from cenote_client import APIError

if TYPE_CHECKING:
    from cenote_client import Client
    from cenote_client.types import LogSource

_POLL_SECONDS = 1.0
_MAX_LINES = 1_000  # lines per response


COLUMNS = {"WHEN": "at", "NODE": "node", "SEVERITY": "severity", "PROCESS": "process", "TEXT": "text"}


class NodeLogs:
    """The logs of nodes, read one after the other and put in order of time."""

    def __init__(self, client: Client, cluster_id: str, source: LogSource, names: Sequence[str]) -> None:
        self._client, self._id, self._source = client, cluster_id, source
        self._cursors = dict.fromkeys(names, "")
        self._silent: dict[str, str] = {}

    def newest(self, count: int) -> list[dict[str, Any]]:
        """Return the messages that were not read before, at most ``count`` of them, each with its node.

        A node that cannot be read is told once; ServerError if that is so of all.
        """
        found: list[dict[str, Any]] = []
        failures: list[APIError] = []
        for name in self._cursors:
            try:
                found += self._of(name, count)
                self._silent.pop(name, None)
            except APIError as error:
                failures.append(error)
                if len(self._cursors) > 1 and self._silent.get(name) != str(error):
                    self._silent[name] = str(error)
                    note(f"The log of {name} cannot be read: {error}")
        if len(failures) == len(self._cursors):
            raise failures[0]
        return in_order(found)[-count:]

    def _of(self, name: str, count: int) -> list[dict[str, Any]]:
        page = self._client.databases.get_logs(
            self._id, source=self._source, lines=count, after=self._cursors[name] or None, node=name or None
        )["logs"]
        self._cursors[name] = page["next"]
        return [{**message, "node": page["node"]} for message in page["messages"]]


def in_order(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages of several logs by their time; one without a time follows the one before it."""
    last: dict[str, str] = {}
    dated = []
    for message in messages:
        last[message["node"]] = message["at"] or last.get(message["node"], "")
        dated.append((last[message["node"]], message))
    return [message for _, message in sorted(dated, key=lambda one: one[0])]


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
@click.option("--node", metavar="NODE", help="Node whose log is shown.  [default: all of them]")
@click.option(
    "--lines",
    metavar="N",
    type=click.IntRange(1, _MAX_LINES),
    default=100,
    show_default=True,
    help="Number of messages.",
)
@click.option("--follow", is_flag=True, help="Print new messages as they arrive, until Ctrl-C.")
def logs(
    layout: Layout, printer: Printer, cluster: str, source: str, node: str | None, lines: int, follow: bool
) -> None:
    """Show the newest log messages of PostgreSQL or PgBouncer."""
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        names = _names(found, source, node)
        reader = NodeLogs(client, found["id"], cast("LogSource", source), names)
        _print(printer, reader.newest(lines), follow, len(names) > 1)
        while follow:
            messages = reader.newest(_MAX_LINES)
            if not messages:
                time.sleep(_POLL_SECONDS)
            _print(printer, messages, follow, len(names) > 1)


def _names(cluster: Any, source: str, node: str | None) -> list[str]:
    """Return the nodes to read, "" for the only one; those on one host share a pooler, and its log."""
    nodes = nodes_of(cluster)
    names = [one["name"] for one in nodes]
    if node is not None:
        if node not in names:
            raise CommandError(f"node {node!r} not found; {cluster['name']} has {', '.join(names)}")
        return [node if cluster["num_nodes"] > 1 else ""]
    if cluster["num_nodes"] == 1:  # while it moves, the other one is there for the move alone
        return [""]
    hosts = [one["host"] for one in nodes]
    return [
        name
        for position, name in enumerate(names)
        if source == "postgres" or hosts.index(hosts[position]) == position
    ]


def _print(printer: Printer, messages: Sequence[dict[str, Any]], follow: bool, several: bool) -> None:
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
        whose = f"{message['node']} " if several else ""
        click.echo(f"{whose}{message['at'] or '-'} [{process}] {text}")
