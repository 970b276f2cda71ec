"""How far a pass has come: which parts of the node failed, and which it has not got to.

A report has it, so that a change is answered as soon as the parts that it concerns are done, or have failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class PassProgress:
    """Of the last pass over a node, or the one that is under way."""

    def __init__(self) -> None:
        self._revision = 0
        self._failed: dict[str, str] = {}
        self._ahead: list[str] = []

    def begin(self, revision: int, parts: Iterable[str]) -> None:
        """Begin a pass for this revision of the record."""
        self._revision, self._failed, self._ahead = revision, {}, list(parts)

    def done(self, part: str) -> None:
        self._ahead.remove(part)

    def failed(self, part: str, reason: str) -> None:
        """Note that a part failed, and that the pass goes on."""
        self._failed[part] = reason
        self._ahead.remove(part)

    def ended(self, reason: str) -> None:
        """Note that the pass has ended with an error, and with it all that it has not got to."""
        self._failed |= dict.fromkeys(self._ahead, reason)
        self._ahead.clear()

    def fields(self) -> dict[str, Any]:
        """Return the fields of a report; none before the first pass."""
        if not self._revision:
            return {}
        return {"tried": self._revision, "failed": dict(self._failed), "ahead": tuple(self._ahead)}
