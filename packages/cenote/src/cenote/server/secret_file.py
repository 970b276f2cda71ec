"""Files with secrets that options name, which nobody but their owner may read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cenote.errors import Misconfigured

T = TypeVar("T")

_MOST_BYTES = 65_536


def parsed(option: str, path: Path, parse: Callable[[str], T]) -> T:
    """Return what ``parse`` makes of a file in ASCII; Misconfigured, with the option, if others may read it.

    ``parse`` raises ValueError for what it does not understand.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MOST_BYTES) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise Misconfigured(f"{option} cannot be read: {error}") from None
    if mode & 0o077:
        raise Misconfigured(f"{option} {path} is open to others than its owner; run: chmod 600 {path}")
    try:
        return parse(content.decode("ascii"))
    except UnicodeDecodeError:
        raise Misconfigured(f"{option} {path} is no text in ASCII") from None
    except ValueError as error:
        raise Misconfigured(f"{option} {path}: {error}") from None
