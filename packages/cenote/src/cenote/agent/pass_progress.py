"""How far a pass has come: which parts of the node failed, and which it has not got to.

A report has it, so that a change is answered as soon as the parts that it concerns are done, or have failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class PassProgress:
    """Of the last pass over a node, or the one that is under way.

    What was brought to a revision stays so in further passes for it, and what failed has failed until it is
    tried again: such a pass says nothing new about parts that it has not got to.
    """

    def __init__(self) -> None:
        self._revision = 0
        self._failed: dict[str, str] = {}
        self._ahead: list[str] = []
        self._left: list[str] = []  # of the pass that is under way

    def begin(self, revision: int, parts: Iterable[str]) -> None:
        """Begin a pass for this revision of the record."""
        self._left = list(parts)
        if revision != self._revision:
            self._revision, self._failed, self._ahead = revision, {}, list(self._left)

    def done(self, part: str) -> None:
        self._got_to(part)

    def failed(self, part: str, reason: str) -> None:
        """Note that a part failed, and that the pass goes on."""
        self._got_to(part)
        self._failed[part] = reason

    def waits(self) -> None:
        """Note that the pass has ended since it has to wait; what it has not got to is ahead."""
        failed = [part for part in self._left if self._failed.pop(part, None) is not None]
        self._ahead = [part for part in self._left if part in failed or part in self._ahead]

    def ended(self, reason: str) -> None:
        """Note that the pass has ended with an error, and with it all that it has not got to."""
        lacking = [part for part in self._left if part in self._failed or part in self._ahead]
        self._failed |= dict.fromkeys(lacking, reason)
        self._ahead = [part for part in self._ahead if part not in self._left]

    def _got_to(self, part: str) -> None:
        self._failed.pop(part, None)
        self._ahead = [one for one in self._ahead if one != part]
        self._left.remove(part)

    def fields(self) -> dict[str, Any]:
        """Return the fields of a report; none before the first pass."""
        if not self._revision:
            return {}
        return {"tried": self._revision, "failed": dict(self._failed), "ahead": tuple(self._ahead)}
