"""Whether a server's WAL gets into the archive, by what PostgreSQL says of its archiver.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

NO_BACKUPS_YET = "no backups before the next restart, which is made in the maintenance window"
_NO_STANZA = ("archive.info", "unable to open missing file")  # as for a moment at each new cluster
_AT_ONCE = "; 'cenote cluster install-update' makes it at once"


@dataclass(frozen=True, slots=True)
class Archiver:
    """``mode`` is ``archive_mode`` in force; ``reason`` is what pgBackRest said at the last failure.

    ``failing``: nothing was pushed since a failure, be it that WAL counts as archived since it was dropped.
    """

    mode: str
    archived_at: datetime | None
    failed_at: datetime | None
    reason: str = ""
    failing: bool = False


def waits_for_restart(unarchived: str) -> bool:
    """Return whether nothing is archived since the server was not restarted with ``archive_mode``."""
    return unarchived == NO_BACKUPS_YET


def with_remedy(reason: str) -> str:
    """Return a reason with the command that ends it, if it is that a restart is waited for."""
    return reason + _AT_ONCE if reason.endswith(NO_BACKUPS_YET) else reason


def archived_at(seen: Archiver, known: datetime | None) -> datetime | None:
    """Return when WAL was archived last, of which ``known`` is what was known before."""
    if seen.failing and known is not None:
        return known
    return seen.archived_at or known


def problem(seen: Archiver, known: datetime | None = None) -> str:
    """Return why WAL is not archived, in words, "" if it is.

    ``known`` is when it was archived last, as far as was known before this look.
    """
    if seen.mode == "off":
        return NO_BACKUPS_YET
    if not seen.failing and (
        seen.failed_at is None or (seen.archived_at is not None and seen.failed_at <= seen.archived_at)
    ):
        return ""
    since = archived_at(seen, known)
    if since is None and all(part in seen.reason for part in _NO_STANZA):
        return "not archived yet: the repository has nothing of this cluster yet"
    words = f"not archived since {since:%Y-%m-%d %H:%M:%S} UTC" if since is not None else "not archived yet"
    return f"{words}: {seen.reason}" if seen.reason else words
