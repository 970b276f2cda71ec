"""``cenote keys``: list and rotate the sealing keys, through the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from cenote.cli.data_dir import data_dir
from cenote.cli.printer import CommandError, Printer, output_options
from cenote.cli.progress import wait_while
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client import Client
    from cenote_client.types import KeyRotation

Ring = Literal["api", "host"]
LIST_COLUMNS = {"RING": "ring", "ID": "id", "MADE": "made_at", "SEALS": "seals", "RECORDS": "records"}
ROTATION = {"RING": "ring", "STATE": "state", "RECORDS": "resealed", "MESSAGE": "message"}
RINGS: tuple[Ring, ...] = ("api", "host")


@click.group()
def command() -> None:
    """List and rotate the sealing keys."""


@command.command("list")
@data_dir
@output_options
def list_(layout: Layout, printer: Printer) -> None:
    """List the sealing keys and the number of records each has sealed.

    Ring api seals passwords and private keys, ring host the configurations of log sinks.  The newest key of a
    ring seals, all of them open.  There is more than one only until a rotation is complete.
    """
    with client_for(layout) as client:
        printer.show_all(client.cenote.list_keys()["keys"], LIST_COLUMNS)


@command.command()
@click.option(
    "--ring",
    type=click.Choice(RINGS),
    help="Rotate the keys of one ring alone: api (passwords, private keys) or host (log sinks).",
)
@data_dir
@output_options
def rotate(layout: Layout, printer: Printer, ring: Ring | None) -> None:
    """Re-seal all records with new keys and remove the old ones, of both rings.

    The service keeps serving.  If a rotation is interrupted, run it again to complete it.
    """
    with client_for(layout) as client:
        done = [_rotate(client, printer, one) for one in (RINGS if ring is None else (ring,))]
    if not printer.prose:
        printer.show_all(done, ROTATION)


def _rotate(client: Client, printer: Printer, ring: Ring) -> KeyRotation:
    rotation = _finished(client, client.cenote.rotate_keys(ring)["rotation"])
    if rotation["state"] != "done":
        raise CommandError(f"ring {ring}: {rotation['message']}")
    if not printer.prose:
        return rotation
    newest = next(key["id"] for key in client.cenote.list_keys()["keys"] if key["ring"] == ring)
    click.echo(f"ring {ring}: {newest} seals now; {rotation['resealed']} records re-sealed")
    click.echo(rotation["message"])
    return rotation


def _finished(client: Client, rotation: KeyRotation) -> KeyRotation:
    """Wait until the rotation has ended, and show how far it is."""
    if rotation["state"] != "running":
        return rotation

    def look() -> KeyRotation:
        latest = client.cenote.list_keys()["rotation"]
        if latest is None:
            raise CommandError(
                "the service was restarted during the rotation; run 'cenote keys rotate' again"
            )
        return latest

    return wait_while(look, _rotating)


def _rotating(rotation: KeyRotation) -> str | None:
    if rotation["state"] != "running":
        return None
    return f"{rotation['resealed']} of {rotation['records']} records re-sealed" if rotation["records"] else ""
