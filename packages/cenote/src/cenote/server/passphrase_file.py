"""Passphrases in files that nobody else can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cenote.errors import Misconfigured
from cenote.model.record import Secret

MOST_BYTES = 4096


def read(path: Path) -> Secret:
    """Return what a file has, without the end of its last line; Misconfigured if others can read it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Misconfigured(f"the passphrase file {path} cannot be read: {error.strerror}") from None
    with open(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise Misconfigured(f"the passphrase file {path} is not a regular file")
        if about.st_uid not in (0, os.geteuid()):
            raise Misconfigured(
                f"the passphrase file {path} belongs to another user, who could change it; fix: chown it"
            )
        if stat.S_IMODE(about.st_mode) & 0o077:
            raise Misconfigured(f"the passphrase file {path} is open to others; fix: chmod 600 {path}")
        content = file.read(MOST_BYTES + 1)
    try:
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Misconfigured(f"the passphrase file {path} is not a text") from None
    if not text or len(content) > MOST_BYTES:
        raise Misconfigured(f"the passphrase file {path} is empty, or too long for a passphrase")
    return Secret(text)
