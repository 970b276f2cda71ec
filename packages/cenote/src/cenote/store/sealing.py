"""Passwords and private keys at rest."""

from __future__ import annotations

from pathlib import Path

from cenote.domain import Secret


class Sealer:
    """Seals with the key in ``key_file``, which is made at first use and never overwritten."""

    def __init__(self, key_file: Path) -> None:
        raise NotImplementedError

    def seal(self, secret: Secret) -> str:
        """Return the secret as a text that only the key opens."""
        raise NotImplementedError

    def open(self, sealed: str) -> Secret:
        """Return the secret; Misconfigured when the key is another one or the text is damaged."""
        raise NotImplementedError
