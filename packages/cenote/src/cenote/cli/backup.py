"""``cenote backup``: the backups of a cluster, one beside the schedule, and restore drills."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING

import click

from cenote.cli.cluster_argument import cluster_argument
from cenote.cli.lookup import find_cluster
from cenote.cli.printer import Printer, note, output_options
from cenote.cli.progress import wait_while
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout
from cenote.rules import archiving

if TYPE_CHECKING:
    from cenote_client import Client
    from cenote_client.types import BackupListResponse, BackupState, Drill

COLUMNS = {
    "CREATED": "created_at",
    "TYPE": "cenote.type",
    "SIZE (GB)": "size_gigabytes",
    "DURATION (S)": "cenote.duration_seconds",
    "ADDED TO REPOSITORY (B)": "cenote.repository_size",
    "LABEL": "cenote.label",
}
DRILL_FIELDS = {"Label": "label", "Ended at": "ended_at", "Seconds": "seconds"}
POLL_SECONDS = 1.0
_FAILED_AT = re.compile(r"failed at (\S+):")


@click.group()
def command() -> None:
    """List the backups of a cluster, make one now, and check that they can be restored."""


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


@command.command()
@cluster_argument
@output_options
def drill(layout: Layout, printer: Printer, cluster: str) -> None:
    """Restore the newest backup of a cluster aside, check it, and say what was found.

    It says how far it is.  Nothing of the cluster waits for it, and nothing of the copy is left.  The exit
    code is 1 if anything was wrong, or if the drill could not be made.
    """
    with client_for(layout) as client:
        found = find_cluster(client, cluster)
        asked = client.databases.create_drill(found["id"])["drill"]
        result = _drilled(client, found["id"], asked["asked_at"])
        if result["failure"]:
            raise click.ClickException(
                f"the backup {result['label']} of cluster {found['name']} is not good: "
                f"{result['check']}: {result['failure']}"
            )
        text = f"The backup {result['label']} of cluster {found['name']} was restored, and nothing was wrong"
        printer.done(text, result, DRILL_FIELDS)


def _drilled(client: Client, id: str, asked_at: str) -> Drill:
    """Wait for the result of a drill that began after it was asked for, and say how far it is meanwhile."""

    def going_on(state: BackupState | None) -> str | None:
        if state is None:
            raise click.ClickException("the service says nothing of restore drills")
        if state["drill"] is not None and _moment(state["drill"]["started_at"]) >= _moment(asked_at):
            return None
        if state["undrilled"] and _moment(state["undrilled_at"] or asked_at) >= _moment(asked_at):
            raise click.ClickException(f"no drill could be made: {state['undrilled']}")
        return state["drilling"]

    seen = wait_while(lambda: client.databases.list_backups(id, per_page=1).get("cenote"), going_on)
    assert seen is not None
    assert seen["drill"] is not None
    return seen["drill"]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _state(state: BackupState) -> list[str]:
    lines = [f"Repository: {state['repository']}; kept for {state['days']} days"]
    lines += [f"Warning: {state['warning']}"] if state.get("warning") else []
    if state.get("restorable"):
        lines.append(f"Restorable: {_window(state)}")
        lines.append(f"WAL archived until: {state['archived_at'] or 'unknown'}")
    if state["running"]:
        progress = state.get("progress")
        lines.append(
            f"In progress: {state['running']} backup" + ("" if progress is None else f", {progress} %")
        )
    if state.get("asked_at"):
        lines.append(f"Requested: at {state.get('asked_at')}; backups of a host are made one at a time")
    lines.append(f"Next backup: {state['next_at']}")
    if (last := state["drill"]) is not None:
        found = f"{last['check']}: {last['failure']}" if last["failure"] else "nothing was wrong"
        what = f"{last['ended_at']}, of {last['label']}, in {last['seconds']:g} s"
        lines.append(f"Last restore drill: {what}: {found}")
    if state["drilling"]:
        lines.append(f"A restore drill is being made: {state['drilling']}")
    elif state["undrilled"]:
        lines.append(f"The last restore drill could not be made: {state['undrilled']}")
    lines += [f"Problem: no backups: {state['impossible']}"] if state["impossible"] else []
    lines += [f"Problem: {archiving.with_remedy(state['unarchived'])}"] if state["unarchived"] else []
    return lines + ([f"The last backup failed: {state['failure']}"] if state["failure"] else [])


def _window(state: BackupState) -> str:
    """Return what can be restored, with the gap in it."""
    spans = state.get("restorable") or []
    words = " and ".join(f"from {span['since']} to {span['until']}" for span in spans)
    return f"{words}; WAL was lost at {state['gap_at']}" if state["gap_at"] else words


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
