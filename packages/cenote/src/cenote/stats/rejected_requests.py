"""Aggregates rejected requests, so that a flood of them makes only a few entries of the audit log.

The first request of a kind is logged at once; the number of those that follow within a minute, at its end.
Requests are of one kind with the same operation, token and status; without a valid token, also the same
address.  Beyond ``MAX_KINDS`` for one token, kinds are counted together.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from msgspec.structs import replace

from cenote.model.event_records import Note

WINDOW = timedelta(minutes=1)
MAX_KINDS = 10
OTHERS = "other operations"


class RejectedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Rejected requests, the last one ``at``; ``operation`` is a route or, without one, a path."""

    at: datetime
    operation: str
    note: Note
    cluster_id: UUID | None = None
    cluster_name: str = ""


_Kind = tuple[str, str, int]


class _Window(msgspec.Struct):
    """The requests of a kind since its first was logged."""

    ends: datetime
    last: RejectedRequest
    count: int = 0


class RejectedRequestCounter:
    def __init__(self) -> None:
        self._windows: dict[UUID | None, dict[_Kind, _Window]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._windows.values()))

    def add(self, request: RejectedRequest) -> RejectedRequest | None:
        """Count a rejected request; return it if it is to be logged at once."""
        note = request.note
        of_token = self._windows.setdefault(note.token_id, {})
        kind = ("" if note.token_id else note.address, request.operation, note.refused)
        if kind not in of_token and len(of_token) >= MAX_KINDS:
            kind = ("", "", 0)
            request = replace(request, note=replace(note, what=OTHERS), cluster_id=None, cluster_name="")
        window = of_token.get(kind)
        if window is None:
            of_token[kind] = _Window(request.at + WINDOW, request)
            return request
        window.count += 1
        window.last = request
        return None

    def due(self, now: datetime) -> list[RejectedRequest]:
        """Remove the windows that are over, and return what is to be logged of them."""
        found = []
        for token_id, of_token in list(self._windows.items()):
            for kind, window in list(of_token.items()):
                if now < window.ends <= now + WINDOW:  # it ends later still if the clock was set back
                    continue
                del of_token[kind]
                if window.count:
                    note = replace(window.last.note, count=window.count)
                    found.append(replace(window.last, note=note))
            if not of_token:
                del self._windows[token_id]
        return found
