"""``cenote cluster autoscale``, ``hostnames`` and ``maintenance``: show or change these settings."""

from __future__ import annotations

from typing import Any

import click

from cenote.cli.cluster_argument import cluster_api, cluster_argument
from cenote.cli.printer import Printer, note_not_in_force, output_options
from cenote.model.paths import Layout

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
AUTOSCALE = {"Enabled": "enabled", "Threshold (%)": "threshold_percent", "Increment (GiB)": "increment_gib"}
HOSTNAMES = {"Host names": "service_cnames"}
WINDOW = {"Day": "day", "Hour (UTC)": "hour", "Pending": "pending", "Updates": "description"}


@click.command()
@cluster_argument
@output_options
@click.option("--enable/--disable", "enabled", default=None, help="Let the storage grow, or not.")
@click.option("--threshold", metavar="PERCENT", type=int, help="Usage at which it grows: 15 to 95.")
@click.option("--increment", metavar="GIB", type=int, help="How much it grows by: 10 to 500 GiB.")
def autoscale(
    layout: Layout,
    printer: Printer,
    cluster: str,
    enabled: bool | None,
    threshold: int | None,
    increment: int | None,
) -> None:
    """Show or change the storage autoscaling of a cluster.

    --threshold and --increment enable it, too.
    """
    given = {"threshold_percent": threshold, "increment_gib": increment}
    wanted = {name: value for name, value in given.items() if value is not None}
    if enabled is False and wanted:
        raise click.UsageError("--disable goes with neither --threshold nor --increment")
    with cluster_api(layout, cluster) as (databases, uuid):
        if enabled is not None or wanted:
            before: Any = databases.get_autoscale(uuid)["autoscale"]["storage"]
            body: Any = {"enabled": False} if enabled is False else before | wanted | {"enabled": True}
            databases.update_autoscale(uuid, {"storage": body})
        printer.show(databases.get_autoscale(uuid)["autoscale"]["storage"], AUTOSCALE)


@click.command()
@cluster_argument
@output_options
@click.argument("names", nargs=-1, metavar="[NAME]…")
@click.option("--clear", is_flag=True, help="Remove all names.")
def hostnames(layout: Layout, printer: Printer, cluster: str, names: tuple[str, ...], clear: bool) -> None:
    """Show or replace the additional host names (CNAMEs) in the certificate of a cluster."""
    if clear and names:
        raise click.UsageError("--clear goes without names")
    with cluster_api(layout, cluster) as (databases, uuid):
        if clear or names:
            databases.update_do_settings(uuid, {"do_settings": {"service_cnames": list(names)}})
            note_not_in_force(databases.get_cluster(uuid)["database"])
        printer.show(databases.get_do_settings(uuid)["do_settings"], HOSTNAMES)


@click.command()
@cluster_argument
@output_options
@click.option("--day", metavar="DAY", type=click.Choice(DAYS, case_sensitive=False), help="Day of the week.")
@click.option("--hour", metavar="HH:MM", help="Begin of the four hours, in UTC.")
def maintenance(layout: Layout, printer: Printer, cluster: str, day: str | None, hour: str | None) -> None:
    """Show or change the weekly window in which updates may restart the servers of a cluster."""
    with cluster_api(layout, cluster) as (databases, uuid):
        before: Any = databases.get_cluster(uuid)["database"]["maintenance_window"]
        if day is not None or hour is not None:
            body: Any = {"day": day or before["day"], "hour": hour or before["hour"]}
            databases.update_maintenance_window(uuid, body)
            before = databases.get_cluster(uuid)["database"]["maintenance_window"]
        printer.show(before, WINDOW)
