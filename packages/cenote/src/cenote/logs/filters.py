"""Which messages of a log are wanted: those with a text in them, and those of some severity.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cenote.logs.messages import Message, Severity

MAX_SEARCH = 200  # characters of the text
_ORDER = tuple(Severity)  # the worst last


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Selects the messages that contain ``search``, in any case, and are at least as bad as ``severity``."""

    search: str = ""
    severity: Severity = Severity.DEBUG

    def __bool__(self) -> bool:
        return bool(self.search) or self.severity is not Severity.DEBUG

    def matches(self, severity: Severity, text: str) -> bool:
        """Return whether a message with this severity and text is selected."""
        bad_enough = _ORDER.index(severity) >= _ORDER.index(self.severity)
        return bad_enough and self.search.casefold() in text.casefold()

    def select(self, messages: Iterable[Message]) -> list[Message]:
        return [message for message in messages if self.matches(message.severity, message.text)]

    def may_match(self, data: bytes) -> bool:
        """Return whether a part of a log may have the text, which is much faster than parsing it."""
        return not self.search.isascii() or self.search.encode().lower() in data.lower()


ALL = LogFilter()
