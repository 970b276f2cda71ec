"""Shows how far an import is: one line that changes on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from cenote.logs.terminal_text import printable

_TERMINAL_SECONDS = 0.2
_LOG_SECONDS = 30.0
_WIDTH = 100
_KIB = 1024


class Progress:
    """Writes to stderr, so that stdout has the report alone."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._shown = 0.0
        self._open = False

    def step(self, text: str) -> None:
        """Begin a step: a line of its own."""
        self._close()
        self._write(f"{printable(text)}\n")
        self._shown = time.monotonic()

    def show(self, text: str) -> None:
        """Say how far the step is, unless that was said a moment ago."""
        now = time.monotonic()
        if now - self._shown < (_TERMINAL_SECONDS if self._live else _LOG_SECONDS):
            return
        self._shown = now
        if self._live:
            self._write(f"\r\x1b[K  {text[:_WIDTH]}")
            self._open = True
        else:
            self._write(f"  {text}\n")

    def close(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._open:
            self._write("\r\x1b[K")
            self._open = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def size(count: float) -> str:
    """Return a number of bytes for people: 1.5 GiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < _KIB:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= _KIB
    return f"{count:.1f} TiB"
