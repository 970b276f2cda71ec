"""``cenote completion``: the lines that teach a shell to complete our commands and clusters."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion for a shell: eval "$(cenote completion bash)"."""
    from cenote.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "cenote", "_CENOTE_COMPLETE").source())
