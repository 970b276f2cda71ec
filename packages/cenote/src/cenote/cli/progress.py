"""What a command waits for, shown on stderr: one updated line on a terminal, else a line per change."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

import click

from cenote.cli.printer import note, prints_json
from cenote.logs.terminal_text import printable

POLL_SECONDS = 0.3
T = TypeVar("T")


class Progress:
    """The line of a command that waits; leaving the block takes it off a terminal."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty() and not prints_json()
        self._last = ""
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal and self._last:
            click.echo("\r\033[K", err=True, nl=False)

    def show(self, words: str) -> None:
        """Show what is waited for; "" keeps what is shown."""
        if not words:
            return
        words = printable(words)
        if self._terminal:
            seconds = time.monotonic() - self._began
            click.echo(f"\r\033[K{words} ({seconds:.0f} s)", err=True, nl=False)
        elif words != self._last:
            note(words)
        self._last = words


def wait_while(look: Callable[[], T], going_on: Callable[[T], str | None]) -> T:
    """Look until nothing is going on any more, show that meanwhile, and return what was seen last.

    ``going_on``: says in words what is going on, "" if that is not known, or returns None once it is over.
    """
    with Progress() as progress:
        while True:
            seen = look()
            words = going_on(seen)
            if words is None:
                return seen
            progress.show(words)
            time.sleep(POLL_SECONDS)
