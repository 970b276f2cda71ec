"""Counting refused calls, so that a flood of them is a few entries of the audit trail.  Without I/O.

The first of a kind in a minute is told at once, and how many like it followed when the minute is over.  Of a
kind are calls of the same operation with the same token and the same answer; of callers without a good token,
those from the same address.  The kinds of one token are told apart as far as ``MAX_KINDS``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from msgspec.structs import replace

from cenote.model.records import Note

WINDOW = timedelta(minutes=1)
MAX_KINDS = 10
OTHERS = "other operations"


class RejectedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that were refused, the last of them ``at``; ``operation`` is a route or, without one, a path."""

    at: datetime
    operation: str
    note: Note
    cluster_id: UUID | None = None
    cluster_name: str = ""


_Kind = tuple[str, str, int]


class _Window(msgspec.Struct):
    """What has come of a kind since its first was told."""

    ends: datetime
    last: RejectedRequest
    count: int = 0


class RejectedRequestCounter:
    def __init__(self) -> None:
        self._windows: dict[UUID | None, dict[_Kind, _Window]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._windows.values()))

    def add(self, refusal: RejectedRequest) -> RejectedRequest | None:
        """Count a refused call, and return it when it is to be told at once."""
        note = refusal.note
        of_token = self._windows.setdefault(note.token_id, {})
        kind = ("" if note.token_id else note.address, refusal.operation, note.refused)
        if kind not in of_token and len(of_token) >= MAX_KINDS:
            kind = ("", "", 0)
            refusal = replace(refusal, note=replace(note, what=OTHERS), cluster_id=None, cluster_name="")
        window = of_token.get(kind)
        if window is None:
            of_token[kind] = _Window(refusal.at + WINDOW, refusal)
            return refusal
        window.count += 1
        window.last = refusal
        return None

    def due(self, now: datetime) -> list[RejectedRequest]:
        """Return what is to be told of the minutes that are over, and forget those."""
        told = []
        for token_id, of_token in list(self._windows.items()):
            for kind, window in list(of_token.items()):
                if window.ends > now:
                    continue
                del of_token[kind]
                if window.count:
                    note = replace(window.last.note, count=window.count)
                    told.append(replace(window.last, note=note))
            if not of_token:
                del self._windows[token_id]
        return told
