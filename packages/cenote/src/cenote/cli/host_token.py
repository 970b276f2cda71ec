"""``cenote host token``: tokens with which other hosts join."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from cenote.cli.data_dir import data_dir
from cenote.cli.printer import Printer, note, output_options
from cenote.cli.service_client import client_for
from cenote.cli.token import Duration
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client.types import HostTokenCreate

COLUMNS = {"ID": "id", "ROLES": "roles", "CREATED": "created_at", "EXPIRES": "expires_at"}
DETAIL = {"Command": "command", "Token": "token", "Roles": "roles", "Expires": "expires_at", "ID": "id"}


@click.command("token")
@data_dir
@output_options
@click.option(
    "--roles",
    metavar="ROLES",
    help="What the new host may do: api, database, store, separated by commas.  [default: all]",
)
@click.option(
    "--expires",
    type=Duration(),
    default="1h",
    show_default=True,
    help="How long the token can be used, at most 7d.",
)
def create(layout: Layout, printer: Printer, roles: str | None, expires: timedelta) -> None:
    """Print the command with which one new host joins this one.

    Type it on the new host, with that host's own address in place of ADDRESS.  The token in it can be used
    once, and is not shown again.
    """
    body: HostTokenCreate = {"expires_at": (datetime.now(UTC) + expires).isoformat()}
    if roles is not None:
        body["roles"] = [name.strip() for name in roles.split(",") if name.strip()]
    with client_for(layout) as client:
        made = client.cenote.create_host_token(body)["host_token"]
    if not printer.prose:
        printer.show(made, DETAIL)
        return
    note(f"On the new host, within {_in_words(expires)}, with its own address in place of ADDRESS:")
    click.echo(made["command"])


@click.command("tokens")
@data_dir
@output_options
def list_(layout: Layout, printer: Printer) -> None:
    """List the tokens for new hosts that were not used, without their values."""
    with client_for(layout) as client:
        printer.show_all(client.cenote.list_host_tokens()["host_tokens"], COLUMNS)


@click.command("revoke-token")
@data_dir
@output_options
@click.argument("token_id", metavar="ID", required=False)
@click.option("--all", "every", is_flag=True, help="Revoke all of them.")
def revoke(layout: Layout, printer: Printer, token_id: str | None, every: bool) -> None:
    """Revoke a token for a new host; hosts that have joined stay."""
    if (token_id is None) is not every:
        raise click.UsageError("specify the ID of a token, or --all")
    with client_for(layout) as client:
        ids = [] if token_id is None else [token_id]
        if every:
            ids = [one["id"] for one in client.cenote.list_host_tokens()["host_tokens"]]
        for id in ids:
            client.cenote.revoke_host_token(id)
    if printer.prose:
        for id in ids:
            click.echo(f"Revoked {id}")
    else:
        printer.show_all([{"id": id} for id in ids], {"ID": "id"})


def _in_words(lifetime: timedelta) -> str:
    minutes = round(lifetime.total_seconds() / 60)
    for unit, length in (("day", 1440), ("hour", 60), ("minute", 1)):
        if minutes % length == 0:
            number = minutes // length
            return f"{number} {unit}{'' if number == 1 else 's'}"
    raise AssertionError
