"""Every command and option of the command line is in the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cenote.cli import cli

DOCS = Path(__file__).parents[2] / "docs"
CONTEXT = click.Context(cli)


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in command.list_commands(CONTEXT):
        found = command.get_command(CONTEXT, name)
        assert found is not None
        yield from commands(found, f"{path} {name}")


def described(path: str) -> str:
    """Return the row of a command in cli.md, or for the service's own options the page about them."""
    row = re.search(rf"^\| `{path}[` ].*$", (DOCS / "cli.md").read_text(), re.MULTILINE)
    assert row is not None, path
    return (DOCS / "operating.md").read_text() if "operating.md" in row[0] else row[0]


COMMANDS = dict(commands(cli, "cenote"))
SHARED = {"--data-dir", "--output", "--field"}


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_is_documented_with_all_its_options(path: str) -> None:
    text = described(path)
    names = {name for parameter in COMMANDS[path].params for name in parameter.opts if name.startswith("--")}
    assert {name for name in names - SHARED if not re.search(rf"`{name}[ `]", text)} == set()
