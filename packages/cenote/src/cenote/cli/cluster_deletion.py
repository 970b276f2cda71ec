"""``cenote cluster delete``, ``deleted`` and ``undelete``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.data_dir import data_dir
from cenote.cli.lookup import find_cluster, is_uuid
from cenote.cli.online_wait import wait_until_online
from cenote.cli.plain_requests import listed
from cenote.cli.printer import CommandError, Printer, confirm, note, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client import Client

DELETED_COLUMNS = {
    "NAME": "name",
    "DELETED": "deleted_at",
    "UNTIL": "until",
    "HOST": "host",
    "FROM": "source",
    "MIB": "used_mib",
    "ID": "id",
    "REASON": "reason",
}


@click.command()
@cluster_argument
@output_options
@click.option("--purge", is_flag=True, help="Remove its data for good; also of one that is deleted already.")
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
def delete(layout: Layout, printer: Printer, cluster: str, purge: bool, yes: bool) -> None:
    """Delete a cluster and all its data.

    'cenote cluster undelete' brings it back for some days (--undelete-days of 'cenote serve'), unless --purge
    is given.
    """
    from cenote_client import NotFoundError

    with client_for(layout) as client:
        found = _to_delete(client, cluster, purge=purge)
        name, id = found["name"], found["id"]
        if "deleted_at" not in found:
            confirm(f"Delete cluster {name} ({id}) and all its data{' for good' * purge}?", yes)
            client.databases.destroy_cluster(id)
        else:
            confirm(f"Remove the data of the deleted cluster {name} ({id}) for good?", yes)
        if purge:
            # Where nothing is kept, it is removed for good already.
            with contextlib.suppress(NotFoundError):
                client.cenote.purge_cluster(id)
        printer.done(f"Deleted cluster {name}{' for good' * purge}", {"id": id, "name": name})


@click.command()
@data_dir
@output_options
def deleted(layout: Layout, printer: Printer) -> None:
    """List the deleted clusters that can be undeleted."""
    with client_for(layout) as client:
        found = _deleted(client)
        printer.show_all(found, DELETED_COLUMNS)
        if not found:
            note("No deleted cluster can be undeleted")


@click.command()
@cluster_argument
@output_options
@click.option("--name", "new_name", metavar="NAME", help="New name, if another cluster has the former one.")
@click.option("--host", metavar="HOST", help="Host, for one that comes from the repository of backups.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the cluster is online.")
def undelete(
    layout: Layout, printer: Printer, cluster: str, new_name: str | None, host: str | None, no_wait: bool
) -> None:
    """Bring a deleted cluster back, with its data, users, passwords, pools and settings."""
    with client_for(layout) as client:
        found = _find_deleted(client, cluster)
        wish: Any = ({"name": new_name} if new_name else {}) | ({"host": host} if host else {})
        answer = client.cenote.undelete_cluster(found["id"], wish)
        database: Any = answer["database"]
        if not no_wait:
            database = wait_until_online(client, found["id"])
        for line in answer["changed"]:
            note(line)
        printer.done(f"Undeleted cluster {database['name']}", database, {})


def _to_delete(client: Client, name_or_id: str, *, purge: bool) -> Any:
    """Return a cluster, or with ``purge`` a deleted one if there is no other of this name or ID."""
    try:
        return find_cluster(client, name_or_id)
    except CommandError:
        if not purge:
            raise
    return _find_deleted(client, name_or_id)


def _find_deleted(client: Client, name_or_id: str) -> Any:
    meant = [one for one in _deleted(client) if name_or_id in (one["id"], one["name"])]
    if not meant:
        raise CommandError(
            f"deleted cluster {name_or_id!r} not found; list those that can be undeleted with "
            "'cenote cluster deleted'"
        )
    if len(meant) > 1 and not is_uuid(name_or_id):
        ids = ", ".join(f"{one['id']} (deleted at {one['deleted_at']})" for one in meant)
        raise CommandError(f"several deleted clusters were named {name_or_id!r}; give an ID: {ids}")
    return meant[0]


def _deleted(client: Client) -> list[Any]:
    return list(listed(client, "/v2/cenote/deleted", "deleted"))
