"""``cenote token``: create, list and revoke API tokens, through the API."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from cenote.cli import suggestions
from cenote.cli.data_dir import data_dir
from cenote.cli.printer import CommandError, Printer, output_options
from cenote.cli.service_client import client_for
from cenote.model.paths import Layout

if TYPE_CHECKING:
    from cenote_client.types import TokenCreate

SCOPES = (
    "database:read",
    "database:create",
    "database:update",
    "database:delete",
    "database:view_credentials",
    "cenote:admin",
    "*",
)
LIST_COLUMNS = {
    "NAME": "name",
    "SCOPES": "scopes",
    "CREATED": "created_at",
    "EXPIRES": "expires_at",
    "ID": "id",
}
DETAIL_COLUMNS = {
    "Name": "name",
    "Scopes": "scopes",
    "Created": "created_at",
    "Expires": "expires_at",
    "ID": "id",
}
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Duration(click.ParamType[timedelta]):
    """A duration such as ``30d``."""

    name = "duration"

    def convert(
        self, value: object, parameter: click.Parameter | None, context: click.Context | None
    ) -> timedelta:
        found = re.fullmatch(r"(\d{1,5})([mhd])", str(value))
        if found is None:
            self.fail("must be a number followed by m, h or d, such as 30d", parameter, context)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


@click.group()
def command() -> None:
    """Create, list and revoke API tokens."""


@command.command()
@data_dir
@output_options
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    metavar="SCOPE",
    multiple=True,
    type=click.Choice(SCOPES),
    default=["*"],
    help=f"Scope, one of: {', '.join(SCOPES)} (all); repeatable.  [default: *]",
)
@click.option("--expires-in", type=Duration(), help="Lifetime, such as 12h or 30d.  [default: never expires]")
def create(
    layout: Layout, printer: Printer, name: str, scopes: tuple[str, ...], expires_in: timedelta | None
) -> None:
    """Create a token and print it; it is not shown again."""
    body: TokenCreate = {"name": name, "scopes": list(scopes)}
    if expires_in is not None:
        body["expires_at"] = (datetime.now(UTC) + expires_in).isoformat()
    with client_for(layout) as client:
        made = client.cenote.create_token(body)["token"]
        if printer.prose:
            click.echo(made["token"])
        else:
            printer.show(made, {"Token": "token"})


@command.command("list")
@data_dir
@output_options
def list_(layout: Layout, printer: Printer) -> None:
    """List tokens, without their values."""
    with client_for(layout) as client:
        printer.show_all(client.cenote.list_tokens()["tokens"], LIST_COLUMNS)


@command.command()
@data_dir
@output_options
def current(layout: Layout, printer: Printer) -> None:
    """Show the token that commands use here: its name, scopes and expiry."""
    with client_for(layout) as client:
        printer.show(client.cenote.get_own_token()["token"], DETAIL_COLUMNS)


@command.command()
@data_dir
@output_options
@click.argument("name_or_id", metavar="NAME_OR_ID", shell_complete=suggestions.tokens)
def revoke(layout: Layout, printer: Printer, name_or_id: str) -> None:
    """Revoke a token; further requests with it are rejected."""
    with client_for(layout) as client:
        tokens = client.cenote.list_tokens()["tokens"]
        meant = [token for token in tokens if name_or_id in (token["id"], token["name"])]
        if not meant:
            raise CommandError(f"token {name_or_id!r} not found; list tokens with 'cenote token list'")
        if len(meant) > 1:
            raise CommandError(f"{len(meant)} tokens are named {name_or_id!r}; specify one by ID")
        client.cenote.revoke_token(meant[0]["id"])
        if printer.prose:
            click.echo(f"Revoked {meant[0]['name']} ({meant[0]['id']})")
        else:
            printer.show(meant[0], LIST_COLUMNS)
