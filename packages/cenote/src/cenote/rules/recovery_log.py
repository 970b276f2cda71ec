"""How a recovery has ended, by the log of its server.  Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from cenote.rules import backup_info


class Outcome(StrEnum):
    """``ENDED_BEFORE``: all WAL was replayed that there is, and none of it is later than the target.

    ``TOO_EARLY``: the target lies before the end of the backup.  ``UNREADABLE``: the archive could not be
    read.  ``KILLED``: it has said nothing.  ``FAILED``: anything else.
    """

    ENDED_BEFORE = "ended before"
    TOO_EARLY = "too early"
    UNREADABLE = "unreadable"
    KILLED = "killed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Failure:
    outcome: Outcome
    words: str


_SEGMENT = re.compile(r'restored log file "([0-9A-F]{24})" from archive')
_LAST = re.compile(r"last completed transaction was at log time (\S+ \S+)")
_FATAL = re.compile(r"(?:FATAL|PANIC):  (.+)")
_ENDED_BEFORE = "recovery ended before configured recovery target was reached"
_TOO_EARLY = "requested recovery stop point is before consistent recovery point"
_FETCHING = re.compile(r'could not restore file "[^"]*" from archive')
# What a server says as it goes down because of what it, or another process of it, has said before.
_FOLLOWS = ("the database system is", "terminating", "could not")


def last_segment(log: str) -> str:
    """Return the name of the segment of WAL that was fetched last, "" if none was."""
    found = _SEGMENT.findall(log)
    return found[-1] if found else ""


def transaction_at(log: str) -> datetime | None:
    """Return when the last transaction that was replayed was committed, None if there was none."""
    for text in reversed(_LAST.findall(log)):
        for zone in ("+00", "UTC", ""):
            if text.endswith(zone):
                try:
                    at = datetime.fromisoformat(text.removesuffix(zone).strip())
                except ValueError:
                    continue
                return at.replace(tzinfo=UTC)
    return None


def failure(log: str) -> Failure:
    """Return why a server that has ended during recovery has done so."""
    fatal = _FATAL.findall(log)
    if any(_ENDED_BEFORE in line for line in fatal):
        return Failure(Outcome.ENDED_BEFORE, "the archive ends before that moment")
    if any(_TOO_EARLY in line for line in fatal):
        return Failure(Outcome.TOO_EARLY, "the backup had not ended yet at that moment")
    if not fatal:
        return Failure(Outcome.KILLED, "its server was ended while it replayed WAL")
    _, words = backup_info.error_of(log)
    if any(_FETCHING.search(line) for line in fatal):
        return Failure(Outcome.UNREADABLE, f"the archive cannot be read: {words or fatal[-1]}")
    return Failure(Outcome.FAILED, f"the WAL cannot be replayed: {_first(fatal)}")


def _first(fatal: list[str]) -> str:
    telling = [line for line in fatal if not line.startswith(_FOLLOWS)]
    found = (telling or fatal)[0]
    return found[: backup_info.LONGEST]
