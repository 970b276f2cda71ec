"""Restore drills: when one is due, and what the archive lacks.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from cenote.model.backups import BackupReport
from cenote.model.records import Cluster
from cenote.rules.backup_info import LONGEST

RETRY_AFTER = timedelta(days=1)  # one that found something, unless they are made more often
_MINUTES_OF_A_DAY = 24 * 60
_SEGMENT = re.compile(r"(?:^|/)([0-9A-F]{24})-[0-9a-f]{40}(?:\.\w+)?$")
_NAME = re.compile(r"[0-9A-F]{24}")


class Check(StrEnum):
    """What of a backup was found to be wrong, in the order in which it is looked at."""

    KEY = "key"  # it cannot be decrypted
    REPOSITORY = "repository"
    ARCHIVE = "archive"
    PAGES = "pages"  # found as the backup was made
    RESTORE = "restore"
    RECOVERY = "recovery"
    SIZES = "sizes"
    AMCHECK = "amcheck"
    CHECKSUMS = "checksums"
    VERIFY = "verify"


def asked_at(cluster: Cluster) -> datetime | None:
    return None if cluster.backups is None else cluster.backups.drill_asked_at


def is_asked(cluster: Cluster, report: BackupReport) -> bool:
    """Return whether somebody has asked for a drill that was not begun since."""
    asked, last = asked_at(cluster), report.drill
    return asked is not None and (last is None or last.started_at < asked)


def next_at(cluster: Cluster, report: BackupReport, days: int) -> datetime | None:
    """Return when the next drill is due by itself, None if none is.

    The first ones of a host are spread over a day by the ids of the clusters.
    """
    if not days or not report.backups:
        return None
    if report.drill is None:
        return report.backups[0].stopped_at + timedelta(minutes=cluster.id.int % _MINUTES_OF_A_DAY)
    pause = timedelta(days=days)
    return report.drill.ended_at + (min(pause, RETRY_AFTER) if report.drill.failure else pause)


def is_due(cluster: Cluster, report: BackupReport, days: int, now: datetime) -> bool:
    if not report.backups:
        return False
    due = next_at(cluster, report, days)
    return is_asked(cluster, report) or (due is not None and due <= now)


def segments(listing: str) -> list[str]:
    """Return the segments of WAL in a list of an archive's files, sorted."""
    found = (_SEGMENT.search(line) for line in listing.splitlines())
    return sorted({match[1] for match in found if match is not None})


def is_segment(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def verify_problem(said: str) -> str:
    """Return what ``pgbackrest verify`` has found, in words, "" for nothing."""
    if "status: error" not in said and "status: invalid" not in said:
        return ""
    lines = [" ".join(line.split()) for line in said.splitlines() if "invalid" in line or "missing" in line]
    return "; ".join(lines)[:LONGEST] or "the repository is not as it should be"


def missing(there: Iterable[str], first: str) -> str:
    """Return the first segment that is missing from this one on, "" if none is.

    Timelines are followed: one begins at the segment at which the one before it has ended, or earlier.
    """
    numbers = {_number(name): name for name in there}
    begin = _number(first)
    if begin not in numbers:
        return first
    for number in range(begin, max(numbers)):
        if number not in numbers:
            return f"{first[:8]}{number // 256:08X}{number % 256:08X}"
    return ""


def _number(name: str) -> int:
    return int(name[8:16], 16) * 256 + int(name[16:24], 16)
