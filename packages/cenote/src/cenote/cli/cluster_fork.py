"""``cenote cluster fork``: a new cluster with another one's data, as they are now or were at a moment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from cenote.cli import suggestions
from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.lookup import find_cluster, find_project
from cenote.cli.online_wait import wait_until_online
from cenote.cli.printer import Printer, note, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

SUFFIX = "-fork"
LONGEST_NAME = 63
COLUMNS = {"Name": "name", "ID": "id", "Status": "status", "Size": "size", "Created": "created_at"}


def moment(text: str) -> datetime:
    """Return a moment in UTC; without an offset, it is in the time zone of this machine."""
    text = text.strip().upper()
    for utc in (" UTC", "UTC", " Z"):
        if text.endswith(utc):
            text = f"{text.removesuffix(utc)}Z"
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            "not a time; write it as '2026-11-28 10:00', which is in the time zone of this machine, or with "
            "one, as '2026-11-28 10:00:05 UTC' or '2026-11-28T10:00:05+01:00'"
        ) from None


class Moment(click.ParamType[datetime]):
    name = "time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        return value if isinstance(value, datetime) else moment(value)


@click.command()
@cluster_argument
@output_options
@click.argument("new_name", required=False)
@click.option(
    "--at",
    metavar="TIME",
    type=Moment(),
    help="Moment to restore, as '2026-11-28 10:00' in local time or with UTC after it.  [default: now]",
)
@click.option(
    "--size", metavar="SIZE", shell_complete=suggestions.sizes, help="Size.  [default: that of CLUSTER]"
)
@click.option(
    "--storage-mib", metavar="MIB", type=int, help="Storage in MiB.  [default: as CLUSTER, or size]"
)
@click.option("--nodes", metavar="N", type=int, help="Number of nodes.  [default: as CLUSTER]")
@click.option(
    "--region",
    metavar="REGION",
    shell_complete=suggestions.regions,
    help="Region.  [default: that of CLUSTER]",
)
@click.option(
    "--tag", "tags", metavar="TAG", multiple=True, shell_complete=suggestions.tags, help="Tag; repeatable."
)
@click.option("--project", metavar="PROJECT", shell_complete=suggestions.projects, help="Project.")
@click.option(
    "--host", metavar="HOST", help="Host to place it on.  [default: that of CLUSTER, if it has room]"
)
@click.option("--zone", metavar="ZONE", help="Zone of hosts to place it in.  [default: any]")
@click.option("--no-wait", is_flag=True, help="Do not wait until it is online.")
def fork(
    layout: Layout,
    printer: Printer,
    *,
    cluster: str,
    new_name: str | None,
    at: datetime | None,
    size: str | None,
    storage_mib: int | None,
    nodes: int | None,
    region: str | None,
    tags: tuple[str, ...],
    project: str | None,
    host: str | None,
    zone: str | None,
    no_wait: bool,
) -> None:
    """Make a new cluster with the data of CLUSTER, as they are now or were at a moment; CLUSTER goes on.

    It has the users, databases, pools, settings and trusted sources of that moment, and new passwords.
    """
    with client_for(layout) as client:
        source = find_cluster(client, cluster)
        name = new_name or f"{source['name'][: LONGEST_NAME - len(SUFFIX)]}{SUFFIX}"
        restore = {"database_name": source["name"]}
        restore |= {"backup_created_at": in_rfc3339(at)} if at is not None else {}
        body: Any = {"name": name, "engine": "pg", "backup_restore": restore}
        body |= {"num_nodes": source["num_nodes"] if nodes is None else nodes}
        body |= {"size": size or source["size"], "region": region or source["region"]}
        if storage_mib is None and size is None:
            storage_mib = source.get("storage_size_mib")
        body |= {"storage_size_mib": storage_mib} if storage_mib is not None else {}
        body |= {"tags": list(tags)} if tags else {}
        body |= {"project_id": find_project(client, project)["id"]} if project else {}
        wish = {key: value for key, value in (("host", host), ("zone", zone)) if value}
        body |= {"cenote": wish} if wish else {}
        made = client.databases.create_cluster(body)["database"]
        if not no_wait:
            made = wait_until_online(client, made["id"])
        as_of = "now" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"
        is_done = made["status"] == "online"
        text = f"{'Forked' if is_done else 'Forking'} cluster {source['name']} as of {as_of} to {name}"
        printer.done(text if is_done else f"{text}; see 'cenote cluster get {name}'", made, COLUMNS)
        if is_done:
            note(f"Connect with 'cenote psql {name}'; get the connection string with 'cenote uri {name}'")


def in_rfc3339(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
