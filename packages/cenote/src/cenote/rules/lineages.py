"""Which servers may archive into the repository of a cluster that was recovered from there.  Pure.

The host that was lost may have been cut off only, and its server may go on.  So before a cluster is recovered
a mark is left in the repository, and whoever archives or makes a backup looks for marks that are newer than
its own.  It has its own in the cluster's record, on which the server that went on without the store still has
the former one.  A mark begins with the time, so the newest one is the last by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

FOLDER = "cenote/lineages"  # in the repository
NAME = "^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$"  # also for grep -E, and for pgBackRest
_TIME = "%Y%m%dT%H%M%SZ"
SUPERSEDED = (
    "its cluster was recovered from the backups elsewhere, and what this server writes is no part of it"
)


def mark(now: datetime, random: str, newest: str = "") -> str:
    """Return a new mark, after the ``newest`` one, whatever clock that is of.

    ``random`` are eight hexadecimal digits.
    """
    if newest:
        now = max(now, made_at(newest) + timedelta(seconds=1))
    return f"{now.astimezone(UTC):{_TIME}}-{random}"


def made_at(mark: str) -> datetime:
    """Return when a mark was made."""
    return datetime.fromisoformat(mark.partition("-")[0])


def newest(names: Iterable[str]) -> str:
    """Return the newest of the marks among these names, "" without any."""
    return max((name for name in names if re.fullmatch(NAME, name)), default="")


def folder(stanza: UUID | str) -> str:
    """Return the folder of a cluster's marks in the repository."""
    return f"{FOLDER}/{stanza}"


def is_superseded(own: str, names: Iterable[str]) -> bool:
    """Return whether there is a mark that is newer than a server's own, "" for one that has none."""
    return newest(names) > own
