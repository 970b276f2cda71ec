"""Restores: what an agent says of a node whose data are made from a backup, or from a living server."""

from __future__ import annotations

from datetime import datetime

from cenote.model.record import Record


class Restored(Record, frozen=True, kw_only=True):
    """Data that were restored: for which request, and up to which moment.

    ``target`` is the moment that was asked for, None for the last one.  ``transaction_at`` is when the last
    transaction that is in the data was committed, None if none was replayed.  ``label`` is the backup that it
    began with, "" for a copy of a living server.
    """

    asked_at: datetime
    target: datetime | None = None
    transaction_at: datetime | None = None
    label: str = ""


class RestoreState(Record, frozen=True, kw_only=True):
    """How far the restore is that was asked for at ``asked_at``: in words, and what came of it.

    Kept in a file beside the data.  ``restored`` is written before the data get their name, so data that are
    there without it were not restored for this request.
    """

    asked_at: datetime
    reason: str = ""
    restored: Restored | None = None


class CopyMark(Record, frozen=True, kw_only=True):
    """That a copy is complete; the file with it is written after all else is on disk.

    ``label`` is the backup that was copied, "" for a copy of a living server; ``ended_at``: when the
    backup had ended.
    """

    asked_at: datetime
    label: str = ""
    ended_at: datetime | None = None
