"""``cenote backup``: the backups of a cluster, and one beside the schedule."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import click

from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.lookup import find_cluster
from cenote.cli.printer import Printer, note, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout
from cenote.rules import archiving

if TYPE_CHECKING:
    from cenote_client import Client
    from cenote_client.types import BackupListResponse, BackupState

COLUMNS = {
    "CREATED": "created_at",
    "TYPE": "cenote.type",
    "SIZE (GB)": "size_gigabytes",
    "ADDED TO REPOSITORY (B)": "cenote.repository_size",
    "LABEL": "cenote.label",
}
POLL_SECONDS = 1.0
_FAILED_AT = re.compile(r"failed at (\S+):")


@click.group()
def command() -> None:
    """List the backups of a cluster, and make one now."""


@command.command("list")
@cluster_argument
@output_options
def list_(layout: Layout, printer: Printer, cluster: str) -> None:
    """List the backups of a cluster, the oldest first; say what can be restored, and what is wrong."""
    with client_for(layout) as client:
        found = client.databases.list_backups(find_cluster(client, cluster)["id"], per_page=200)
        printer.show_all(found["backups"], COLUMNS)
        if printer.prose and "cenote" in found:
            for line in _state(found["cenote"]):
                note(line)


@command.command()
@cluster_argument
@output_options
@click.option("--wait", is_flag=True, help="Wait until it is made.")
def now(layout: Layout, printer: Printer, cluster: str, wait: bool) -> None:
    """Make a backup of a cluster now, beside the schedule."""
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        asked = client.databases.create_backup(found["id"])["backup"]
        if wait:
            _wait(client, found["id"], asked["asked_at"])
            printer.done(f"Backed up cluster {found['name']}", asked, {"Asked at": "asked_at"})
            return
        text = f"A backup of cluster {found['name']} is made when its turn comes; see 'cenote backup list'"
        printer.done(text, asked, {"Asked at": "asked_at"})


def _state(state: BackupState) -> list[str]:
    lines = [f"Repository: {state['repository']}; kept for {state['days']} days"]
    lines += [f"Warning: {state['warning']}"] if state.get("warning") else []
    if state["restorable_from"]:
        archived = state["archived_at"] or "the last backup"
        lines.append(f"Restorable: from {state['restorable_from']}; archived until {archived}")
    if state["running"]:
        lines.append(f"A backup is being made ({state['running']})")
    lines.append(f"Next backup: {state['next_at']}")
    if state["gap_at"]:
        lines.append(f"WAL was lost at {state['gap_at']}, up to the full backup after that")
    lines += [f"Problem: no backups: {state['impossible']}"] if state["impossible"] else []
    lines += [f"Problem: {archiving.with_remedy(state['unarchived'])}"] if state["unarchived"] else []
    return lines + ([f"The last backup failed: {state['failure']}"] if state["failure"] else [])


def _wait(client: Client, id: str, asked_at: str) -> None:
    """Wait until a backup was made that began after it was asked for; an error once an attempt has failed."""
    from cenote_client import BusyError

    while True:
        found: BackupListResponse | None = None
        try:
            found = client.databases.list_backups(id, per_page=200)
        except BusyError as error:  # there is none yet, be it that an earlier attempt failed
            failed = _FAILED_AT.search(error.message)
            if failed is not None and failed[1] >= asked_at:
                raise
        if found is not None:
            if any(_began(backup) >= asked_at for backup in found["backups"]):
                return
            state = found.get("cenote")
            if state is not None and state["failure"] and (state["failed_at"] or "") >= asked_at:
                raise click.ClickException(f"the backup failed: {state['failure']}")
        time.sleep(POLL_SECONDS)


def _began(backup: object) -> str:
    details = backup.get("cenote") if isinstance(backup, dict) else None
    return str(details["started_at"]) if details else ""
