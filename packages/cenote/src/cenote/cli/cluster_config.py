"""``cenote cluster config``: show the settings of a cluster, or change them and show what has changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from cenote.cli import suggestions
from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.lookup import find_cluster
from cenote.cli.plain_requests import path
from cenote.cli.printer import Printer, note, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client import Client

CHANGES = {"SETTING": "setting", "FROM": "before", "TO": "after", "STATE": "state"}
IN_FORCE = "in force"


@click.command()
@cluster_argument
@output_options
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]…", shell_complete=suggestions.setting_keys)
def config(layout: Layout, printer: Printer, cluster: str, settings: tuple[str, ...]) -> None:
    """Show the configuration of a cluster, or change parameters and show what has changed.

    Example: work_mem=16 pgbouncer.server_idle_timeout=60.  Values are parsed
    as JSON (16, true, ["a"]); anything else is a string.  null restores the default.
    """
    wanted = parsed(settings)
    with client_for(layout) as client:
        uuid = find_cluster(client, cluster)["id"]
        if wanted:
            changes = _change(client, uuid, wanted)
            if changes or printer.format != "table":
                printer.show_all(changes, CHANGES)
            if not changes:
                note("Nothing has changed: the settings had these values")
            return
        shown = _settings(client, uuid)
        printer.show(shown, {name: name for name in shown})


def _change(client: Client, uuid: str, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Change settings; return those that have another value, with the state of each."""
    before = dict(_flat(_settings(client, uuid)))
    # Not by the client's method, which does not return the body.
    answer = client.request("PATCH", path("/v2/databases/{}/config", uuid), json={"config": wanted}) or {}
    after = dict(_flat(_settings(client, uuid)))
    progress: Any = client.databases.get_cluster(uuid)["database"].get("cenote") or {}
    lines = progress.get("not_in_force") or []
    pending = (answer.get("cenote") or {}).get("reason", "")
    return [
        {
            "setting": name,
            "before": before.get(name),
            "after": after.get(name),
            "state": _state(name, lines, pending),
        }
        for name, _ in _flat(wanted)
        if before.get(name) != after.get(name)
    ]


def _state(name: str, lines: list[str], pending: str) -> str:
    """Return whether a setting is in force, and if not, why."""
    word = re.compile(rf"(?<![\w.]){re.escape(name.rpartition('.')[2])}(?![\w.])")
    reason = "; ".join(line for line in lines if word.search(line)) or pending
    return f"not in force: {reason}" if reason else IN_FORCE


def _settings(client: Client, uuid: str) -> dict[str, Any]:
    return dict(client.databases.get_config(uuid)["config"])


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings with the names that they are changed by, such as ``pgbouncer.server_lifetime``."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def parsed(settings: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings of KEY=VALUE arguments as the API takes them; UsageError for another form."""
    wanted: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{setting!r} is not of the form KEY=VALUE")
        inner, outer = wanted, name.split(".")
        for step in outer[:-1]:
            inner = inner.setdefault(step, {})
            if not isinstance(inner, dict):
                raise click.UsageError(f"{name!r}: {step!r} is given a value of its own as well")
        try:
            inner[outer[-1]] = json.loads(text)
        except ValueError:
            inner[outer[-1]] = text
    return wanted
