"""What ``cenote events`` and ``cenote audit`` share: the newest of a list, and then what comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from cenote.cli.output import Columns, Output, Thing

F = TypeVar("F", bound=Callable[..., Any])

MOST = 200  # of one answer
LOOK_EVERY = 1.0  # seconds


def history(function: F) -> F:
    """Add ``--lines`` and ``--follow``."""
    lines = click.option(
        "--lines", type=click.IntRange(1, MOST), default=20, show_default=True, help="How many."
    )
    follow = click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
    return lines(follow(function))


def show(
    newest: Callable[[int], Sequence[Thing]], output: Output, columns: Columns, lines: int, follow: bool
) -> None:
    """Show the newest first; or, when more is to follow, the newest last.

    ``newest`` returns that many of the newest, the newest first; each has an ``id``.
    """
    if not follow:
        output.show_all(newest(lines), columns)
        return
    found = newest(MOST)
    widths = output.show_more(found[:lines][::-1], columns, [])
    while True:
        known = {thing["id"] for thing in found}
        time.sleep(LOOK_EVERY)
        found = newest(MOST)
        news = [thing for thing in reversed(found) if thing["id"] not in known]
        if news:
            widths = output.show_more(news, columns, widths)
