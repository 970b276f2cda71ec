"""``cenote options``: the sizes, PostgreSQL versions and regions available for a cluster."""

from __future__ import annotations

from typing import Any

import click

from cenote.cli.data_dir import data_dir
from cenote.cli.printer import EMPTY, Printer, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

KINDS = ("sizes", "versions", "regions", "hosts")
GIB = 1024  # in MiB
MOST_NAMED = 3  # hosts on which a size fits
COLUMNS: dict[str, dict[str, str]] = {
    "sizes": {
        "SIZE": "slug",
        "VCPUS": "vcpus",
        "MEMORY": "memory",
        "STORAGE": "storage",
        "CONNECTIONS": "connections",
        "FOR POOLS": "pool_connections",
        "CLIENTS": "clients",
        "FITS ON": "fits_on",
    },
    "hosts": {
        "HOST": "name",
        "ZONE": "zone",
        "CLUSTERS": "clusters",
        "LEFT": "text",
        "NO NEW CLUSTERS": "reason",
    },
    "versions": {"VERSION": "version", "DEFAULT": "default", "END OF LIFE": "end_of_life"},
    "regions": {"REGION": "slug"},
}


@click.command()
@data_dir
@output_options
@click.argument("kind", type=click.Choice(KINDS), required=False, metavar="[sizes|versions|regions|hosts]")
def command(layout: Layout, printer: Printer, kind: str | None) -> None:
    """List the sizes, PostgreSQL versions and regions available for a cluster, and what fits where.

    A size has a number of connections to the server; all but the reserved ones are for pools, which take many
    more clients.  Regions are labels.  Hosts are shown to tokens that may create or resize clusters.
    """
    with client_for(layout) as client:
        answer = client.databases.list_options()
    found = _offered(answer)
    if len(found["hosts"]) < 2 and printer.format == "table":
        for size in found["sizes"]:
            size.pop("fits_on", None)
    if kind is not None:
        _show(printer, kind, found[kind])
    elif printer.format in ("json", "yaml"):
        printer.show(found, {})
    elif printer.format == "value" or printer.fields:
        _show(printer, "sizes", found["sizes"])
    else:
        _show(printer, "sizes", found["sizes"])
        click.echo()
        _show(printer, "versions", found["versions"])
        click.echo(f"\nRegions (labels): {', '.join(one['slug'] for one in found['regions'])}")
        if len(found["hosts"]) > 1:
            click.echo()
            _show(printer, "hosts", found["hosts"])


def _show(printer: Printer, kind: str, items: list[dict[str, Any]]) -> None:
    columns = dict(COLUMNS[kind])
    if printer.format != "table" or not any("fits_on" in item for item in items):
        columns.pop("FITS ON", None)
    if printer.format == "table":
        items = _readable(items)
    elif kind == "sizes":
        columns = columns | {"MEMORY": "memory_mib", "STORAGE": "storage_mib"}
    printer.show_all(items, columns)


def _offered(answer: Any) -> dict[str, list[dict[str, Any]]]:
    """Return what is offered by kind; a service other than Cenote tells no more of a size than its name."""
    engine, added = answer["options"]["pg"], answer.get("cenote") or {}
    known = {size["slug"]: size for size in added.get("sizes", ())}
    places = added.get("places", [])
    slugs = dict.fromkeys(slug for layout in engine["layouts"] for slug in layout["sizes"])
    availability = {one["version"]: one for one in answer["version_availability"]["pg"]}
    return {
        "sizes": [known.get(slug, {"slug": slug}) for slug in slugs],
        "versions": [
            {
                "version": version,
                "default": version == engine.get("default_version"),
                "end_of_life": availability.get(version, {}).get("end_of_life"),
            }
            for version in engine["versions"]
        ],
        "regions": [{"slug": region} for region in engine["regions"]],
        "hosts": places,
    }


def _readable(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the items with units, as people read them."""
    shown = []
    for item in items:
        added: dict[str, Any] = {}
        for name, field in (("memory", "memory_mib"), ("storage", "storage_mib")):
            if field in item:
                added[name] = f"{item[field] / GIB:g} GiB"
        if len(item.get("fits_on", ())) > MOST_NAMED:
            added["fits_on"] = f"{len(item['fits_on'])} hosts"
        if "default" in item:
            added["default"] = "yes" if item["default"] else EMPTY
        if item.get("end_of_life"):
            added["end_of_life"] = item["end_of_life"].partition("T")[0]
        shown.append(item | added)
    return shown
