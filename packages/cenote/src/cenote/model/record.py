"""What all records have in common, and a value that is never shown."""

from __future__ import annotations

import msgspec


class Secret:
    """A text that is hidden in ``repr``, ``str``, log lines and the variables of a traceback."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """The base of all records: immutable, stored without the fields that have their default."""
