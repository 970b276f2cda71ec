"""A text that does not show itself, and the removal of secrets from texts that were made elsewhere."""

from __future__ import annotations

import re

HIDDEN = "**********"
_PASSWORD_IN_URI = re.compile(r"(?<=://)([^\s/@:]*):[^\s/@]*@")


class Secret:
    """Holds a token; ``repr``, ``str`` and formatting show stars, only ``reveal()`` gives the text."""

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
        raise TypeError("a Secret is not pickled")


def redacted(text: str, token: str) -> str:
    """Return the text without the token, and without the passwords of URIs in it."""
    if token:
        text = text.replace(token, HIDDEN)
    return _PASSWORD_IN_URI.sub(rf"\1:{HIDDEN}@", text) if "://" in text else text
