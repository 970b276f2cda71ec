"""Passphrases of commands: typed on a terminal, or the content of a file that nobody else can read.

Never an argument or a variable, which process lists and other programs show.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cenote.cli.printer import CommandError
from cenote.model.record import Secret
from cenote.server import passphrase_file

file_option = click.option(
    "--passphrase-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Read the passphrase from this file, which only you may read (mode 0600), and do not ask for it.",
)


def of(file: Path | None, *, twice: bool = False) -> Secret:
    """Return the passphrase; ``twice``: a new one, so that it is asked for again.

    Misconfigured for a file that others can read, CommandError without a file and a terminal.
    """
    if file is not None:
        return passphrase_file.read(file)
    if not sys.stdin.isatty():
        raise CommandError("the passphrase cannot be asked for (no terminal); give --passphrase-file")
    return Secret(click.prompt("Passphrase", hide_input=True, confirmation_prompt=twice, err=True))
