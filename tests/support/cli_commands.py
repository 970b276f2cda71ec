"""The command line's tree of commands."""

from __future__ import annotations

from collections.abc import Iterator

import click

from cenote.cli import cli

_CONTEXT = click.Context(cli)


def leaves(command: click.Command = cli, path: str = "cenote") -> Iterator[tuple[str, click.Command]]:
    """Yield each command that is no group with its path, as in ``cenote pool get``."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in command.list_commands(_CONTEXT):
        found = command.get_command(_CONTEXT, name)
        assert found is not None
        yield from leaves(found, f"{path} {name}")
