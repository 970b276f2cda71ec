"""``cenote firewall``: the trusted sources of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cenote.cli import suggestions
from cenote.cli.cluster_argument import cluster_api, cluster_argument
from cenote.cli.printer import CommandError, Printer, confirm, note, note_not_in_force, output_options
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client._sync.databases_api import DatabasesAPI

OPEN = "No trusted sources: open to all addresses (password required)"
LIST_COLUMNS = {"TYPE": "type", "VALUE": "value", "DESCRIPTION": "description", "CREATED": "created_at"}


@click.group()
def command() -> None:
    """List, add and remove the trusted sources of a cluster."""


@command.command("list")
@cluster_argument
@output_options
def list_(layout: Layout, printer: Printer, cluster: str) -> None:
    """List trusted sources.

    A cluster without trusted sources is open to all addresses (password required).
    """
    with cluster_api(layout, cluster) as (databases, uuid):
        rules = _rules(databases, uuid)
        printer.show_all(rules, LIST_COLUMNS)
        if not rules:
            note(OPEN)


@command.command()
@cluster_argument
@output_options
@click.argument("sources", nargs=-1, required=True, metavar="ADDRESS…")
@click.option("--description", default="", help="Description of the sources.")
def add(layout: Layout, printer: Printer, cluster: str, sources: tuple[str, ...], description: str) -> None:
    """Add trusted sources: addresses or networks, such as 192.0.2.7 or 2001:db8::/32.

    Connections from all other addresses are rejected.
    """
    with cluster_api(layout, cluster) as (databases, uuid):
        added = [{"type": "ip_addr", "value": source, "description": description} for source in sources]
        _replace(printer, databases, uuid, [*_rules(databases, uuid), *added])


@command.command()
@cluster_argument
@output_options
@click.argument("sources", nargs=-1, required=True, metavar="ADDRESS…", shell_complete=suggestions.sources)
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
def remove(layout: Layout, printer: Printer, cluster: str, sources: tuple[str, ...], yes: bool) -> None:
    """Remove trusted sources and disconnect their clients."""
    with cluster_api(layout, cluster) as (databases, uuid):
        rules = _rules(databases, uuid)
        unknown = sorted(set(sources) - {rule["value"] for rule in rules})
        if unknown:
            raise CommandError(
                f"{unknown[0]} is not a trusted source; list them with 'cenote firewall list {cluster}'"
            )
        left = [rule for rule in rules if rule["value"] not in sources]
        if not left:
            confirm(
                "No trusted source would be left: the cluster would be open to all addresses. Continue?", yes
            )
        _replace(printer, databases, uuid, left)


def _rules(databases: DatabasesAPI, uuid: str) -> list[Any]:
    return list(databases.list_firewall_rules(uuid)["rules"])


def _replace(printer: Printer, databases: DatabasesAPI, uuid: str, rules: Sequence[Any]) -> None:
    databases.update_firewall_rules(uuid, {"rules": list(rules)})
    note_not_in_force(databases.get_cluster(uuid)["database"])
    if not printer.prose:
        printer.show_all(_rules(databases, uuid), LIST_COLUMNS)
    else:
        note(f"Trusted sources: {len(rules)}" if rules else OPEN)
