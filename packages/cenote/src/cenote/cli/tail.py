"""``--lines`` and ``--follow`` of ``cenote events`` and ``cenote audit``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from cenote.cli.printer import Columns, Item, Printer

F = TypeVar("F", bound=Callable[..., Any])

MAX_LINES = 200  # per response
POLL_SECONDS = 1.0


def tail_options(function: F) -> F:
    """Add ``--lines`` and ``--follow``."""
    lines = click.option(
        "--lines",
        metavar="N",
        type=click.IntRange(1, MAX_LINES),
        default=20,
        show_default=True,
        help="Number of entries.",
    )
    follow = click.option("--follow", is_flag=True, help="Print new entries as they arrive, until Ctrl-C.")
    return lines(follow(function))


def show(
    newest: Callable[[int], Sequence[Item]], printer: Printer, columns: Columns, lines: int, follow: bool
) -> None:
    """Show the newest entries, newest first; with ``follow``, newest last and new ones as they arrive.

    ``newest`` returns the given number of entries, newest first; each has an ``id``.
    """
    if not follow:
        printer.show_all(newest(lines), columns)
        return
    found = newest(MAX_LINES)
    widths = printer.show_more(found[:lines][::-1], columns, [])
    while True:
        known = {item["id"] for item in found}
        time.sleep(POLL_SECONDS)
        found = newest(MAX_LINES)
        news = [item for item in reversed(found) if item["id"] not in known]
        if news:
            widths = printer.show_more(news, columns, widths)
