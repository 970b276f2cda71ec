"""Keeps secrets out of ``repr``, logs and error messages."""

from __future__ import annotations

import re

HIDDEN = "**********"
_PASSWORD_IN_URI = re.compile(r"(?<=://)([^\s/@:]*):[^\s/@]*@")


class Secret:
    """Holds a token; ``repr``, ``str`` and formatting show asterisks, only ``reveal()`` returns the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Secret({HIDDEN!r})"

    def __str__(self) -> str:
        return HIDDEN

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled")


def redacted(text: str, token: str) -> str:
    """Return the text with the token, and the passwords of URIs, replaced by asterisks."""
    if token:
        text = text.replace(token, HIDDEN)
    return _PASSWORD_IN_URI.sub(rf"\1:{HIDDEN}@", text) if "://" in text else text
