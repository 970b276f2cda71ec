"""What can be restored of a cluster: the backup that a restore begins with, and missing WAL.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from cenote.model.backups import Backup

_TIMELINE = 8  # hexadecimal digits at the beginning of a segment's name
_SECOND = timedelta(seconds=1)  # a backup has whole seconds only


def choose(backups: Sequence[Backup], target: datetime | None) -> Backup:
    """Return the backup that a restore to this moment begins with; ValueError, in words, if there is none."""
    if not backups:
        raise ValueError("there is no backup of it")
    if target is None:
        return backups[-1]
    ended = [one for one in backups if one.stopped_at <= target]
    if not ended:
        raise ValueError(
            f"{in_words(target)} cannot be restored: the first backup ended {in_words(backups[0].stopped_at)}"
        )
    surely = [one for one in ended if one.stopped_at + _SECOND <= target]
    return (surely or ended)[-1]


def proves(backups: Iterable[Backup], target: datetime) -> bool:
    """Return whether WAL is archived up to this moment for certain: a backup that began later needed it."""
    return any(one.started_at > target for one in backups)


def missing_after(last: str, newest: str) -> str:
    """Return why a recovery has ended too early, in words, "" if the archive has no more WAL.

    ``last`` is the segment that was fetched last, ``newest`` the newest one of the archive.
    """
    if not last or not newest or newest[_TIMELINE:] <= last[_TIMELINE:]:
        return ""
    return f"WAL is missing in the archive: what follows {last} is not there, and there is WAL up to {newest}"


def percent(first: str, last: str, newest: str) -> int | None:
    """Return how much of the archive's WAL is replayed, None if that is not known."""
    if not (first and last and newest):
        return None
    begin, now, end = (_number(name) for name in (first, last, newest))
    return None if end <= begin else max(0, min(100, round(100 * (now - begin) / (end - begin))))


def in_words(moment: datetime) -> str:
    words = f"{moment:%Y-%m-%d %H:%M:%S}"
    return f"{words}.{moment.microsecond:06d} UTC" if moment.microsecond else f"{words} UTC"


def _number(name: str) -> int:
    # 256 segments of 16 MiB for each of the middle eight digits.
    return int(name[8:16], 16) * 256 + int(name[16:24], 16)
