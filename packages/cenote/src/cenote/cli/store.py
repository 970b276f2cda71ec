"""``cenote store``: the members of the store, seen and put right from one of its hosts."""

from __future__ import annotations

import asyncio

import click

from cenote.cli.data_dir import data_dir
from cenote.cli.printer import CommandError, Printer, confirm, output_options
from cenote.model.paths import Layout
from cenote.server import store_tools
from cenote.store import member_state

COLUMNS = {
    "HOST": "host",
    "URL": "url",
    "KIND": "kind",
    "STATE": "state",
    "SIZE (MiB)": "size_mib",
}

_prefix = click.option(
    "--etcd-prefix", metavar="PREFIX", default="/cenote/", show_default=True, help="Prefix of keys in etcd."
)
_yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


@click.group()
def command() -> None:
    """Show, replace and recover the members of the store.

    The store is the private etcd.  The commands work on a host of it, without its API.
    """


@command.command()
@_prefix
@data_dir
@output_options
def status(layout: Layout, printer: Printer, etcd_prefix: str) -> None:
    """List the members of the store, and say whether changes go on.

    KIND is leads, votes or learns: a member that learns is a copy without a vote.
    """
    found = asyncio.run(store_tools.look(layout, etcd_prefix))
    printer.show_all([member_state.row(one, found.names) for one in found.members], COLUMNS)
    if printer.prose:
        click.echo(_sentence(member_state.in_words(found.members, found.names)))


@command.command()
@_yes
@_prefix
@data_dir
def replace(layout: Layout, yes: bool, etcd_prefix: str) -> None:
    """Replace this host's member, whose disk was lost, by a new one.

    The service has to run here: it starts the new member, which takes its data from the others.
    """
    confirm("Remove this host's member from the store, and add a new one with the data of the others?", yes)
    asyncio.run(store_tools.replace(layout, etcd_prefix))
    click.echo("The lost member is removed; waiting for the new one")
    seated = asyncio.run(store_tools.wait_until_seated(layout, etcd_prefix))
    if seated is None:
        raise CommandError(
            "the new member does not answer yet; it is added while 'cenote serve' runs here and on a host "
            "with the role api: see 'cenote store status'"
        )
    click.echo(seated)


@command.command()
@_yes
@_prefix
@data_dir
def recover(layout: Layout, yes: bool, etcd_prefix: str) -> None:
    """Go on with this host's records, when most members of the store are lost for good.

    The other members are forgotten, with the changes that only they have: stop their hosts before.  Databases
    and pools go on.
    """
    at = asyncio.run(store_tools.check_recovery(layout, etcd_prefix))
    written = "" if at is None else f", last written at {at:%Y-%m-%d %H:%M:%S} UTC"
    confirm(
        f"Have this host's etcd be the only member of the store, with the records that it has{written}?\n"
        "The hosts of the other members must be stopped, or lost for good: are they?",
        yes,
    )
    asyncio.run(store_tools.recover(layout, etcd_prefix))
    click.echo("The store goes on with the records of this host, and is its only member")
    click.echo(
        "Remove the hosts that are lost ('cenote host remove'); the etcd of one that comes back becomes a "
        "new member by itself"
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
