"""``cenote completion``: a shell completion script for commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a shell completion script.

    For bash and zsh: eval "$(cenote completion bash)".  For fish: cenote completion fish | source.
    """
    from cenote.cli import bash_completion, cli  # noqa: F401 - the import registers it

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "cenote", "_CENOTE_COMPLETE").source())
