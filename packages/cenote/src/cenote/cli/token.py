"""``cenote token``: through the API, as every program that is not the service itself."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from cenote.cli.options import data_dir
from cenote.cli.reach import client_for
from cenote.layout import Layout

if TYPE_CHECKING:
    from rich.table import Table

PATH = "/v2/cenote/tokens"
SCOPES = (
    "database:read",
    "database:create",
    "database:update",
    "database:delete",
    "database:view_credentials",
    "cenote:admin",
    "*",
)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Duration(click.ParamType[timedelta]):
    """A time from now on, such as ``30d``."""

    name = "duration"

    def convert(
        self, value: object, parameter: click.Parameter | None, context: click.Context | None
    ) -> timedelta:
        found = re.fullmatch(r"(\d{1,5})([mhd])", str(value))
        if found is None:
            self.fail("give a number and m, h or d, such as 30d", parameter, context)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


@click.group()
def command() -> None:
    """Create, list and revoke API tokens."""


@command.command()
@data_dir
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=["*"],
    help="What it may do; may be given several times.  [default: everything]",
)
@click.option("--expires-in", type=Duration(), help="When it ends, such as 12h or 30d.  [default: never]")
def create(layout: Layout, name: str, scopes: tuple[str, ...], expires_in: timedelta | None) -> None:
    """Create a token and print it: the one time that it is shown."""
    body: dict[str, object] = {"name": name, "scopes": list(scopes)}
    if expires_in is not None:
        body["expires_at"] = (datetime.now(UTC) + expires_in).isoformat()
    with client_for(layout) as client:
        click.echo(client.request("POST", PATH, json=body)["token"]["token"])


@command.command("list")
@data_dir
def list_(layout: Layout) -> None:
    """List all tokens, without their texts."""
    from rich.console import Console

    with client_for(layout) as client:
        # A program that reads this wants whole words, however narrow the terminal.
        console = Console() if sys.stdout.isatty() else Console(width=250)
        console.print(_table(client.request("GET", PATH)["tokens"]))


@command.command()
@data_dir
@click.argument("name_or_id")
def revoke(layout: Layout, name_or_id: str) -> None:
    """Revoke a token; whoever uses it is refused from then on."""
    with client_for(layout) as client:
        tokens = client.request("GET", PATH)["tokens"]
        meant = [token for token in tokens if name_or_id in (token["id"], token["name"])]
        if not meant:
            raise click.ClickException(f"there is no token {name_or_id!r}; 'cenote token list' shows all")
        if len(meant) > 1:
            raise click.ClickException(f"{len(meant)} tokens are called {name_or_id!r}; give the id of one")
        client.request("DELETE", f"{PATH}/{meant[0]['id']}")
        click.echo(f"revoked {meant[0]['name']} ({meant[0]['id']})")


def _table(tokens: list[dict[str, object]]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE)
    for heading in ("ID", "Name", "Scopes", "Created", "Expires"):
        # An identifier that is cut off cannot be copied.
        table.add_column(heading, no_wrap=heading == "ID", min_width=36 if heading == "ID" else None)
    for token in tokens:
        scopes = token["scopes"]
        words = " ".join(sorted(map(str, scopes))) if isinstance(scopes, list) else str(scopes)
        table.add_row(
            str(token["id"]),
            str(token["name"]),
            words,
            _minute(token["created_at"]),
            _minute(token.get("expires_at")) or "never",
        )
    return table


def _minute(time: object) -> str:
    """Shorten a time of the API to the minute, in UTC as it is."""
    return str(time)[:16].replace("T", " ") if time else ""
