"""The option ``--data-dir`` of every command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cenote.cli.failures import COMMAND
from cenote.errors import Misconfigured
from cenote.host import programs
from cenote.model.paths import Layout

F = TypeVar("F", bound=Callable[..., Any])


def absolute(path: Path) -> Path:
    """Return the path from the root on; Misconfigured for a relative one in a directory that is gone."""
    try:
        return path.absolute()
    except FileNotFoundError:
        raise Misconfigured(
            f"the path {path} is relative, and the current directory does not exist any longer; change to "
            "one that does, or give the whole path"
        ) from None


def _layout(context: click.Context, _parameter: click.Parameter, value: Path) -> Layout:
    context.meta[COMMAND] = context.command
    return Layout(absolute(value))


def data_dir(function: F) -> F:
    """Add ``--data-dir``, passed to the command as a ``Layout``."""
    option = click.option(
        "--data-dir",
        "layout",
        metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="CENOTE_DATA_DIR",
        default=programs.default_data_dir,
        show_default="/var/lib/cenote as root, else ~/.local/share/cenote",
        callback=_layout,
        show_envvar=True,
        help="Data directory of the service.",
    )
    return option(function)
