"""WAL that a promoted node has, beside what is in the archive: pure.

A node that was copied from another one has what was written since the copy was begun.  If the other one had
not archived what is before that, it is nowhere any more.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

_SEGMENT = re.compile(r"[0-9A-F]{24}")
_MARK = re.compile(r"(\d{1,20}) ([0-9A-F]{8}) ([0-9A-F]{24}) (\d{1,12})( settled)?\n?")
_PER_FOLDER = 256
_TIMELINE = 8  # digits in the name of a segment


@dataclass(frozen=True, slots=True)
class Promotion:
    """That a node takes writes on a ``timeline``; ``first`` is its oldest WAL.

    ``system`` is the system identifier of its data: after an upgrade to another major version, timelines
    begin again at the first one.
    ``since`` is up to when all was archived, None if that is not known.  ``settled``: it is known whether
    what is before ``first`` is in the archive.
    """

    system: str
    timeline: str
    first: str
    since: datetime | None = None
    settled: bool = False

    def encode(self) -> bytes:
        since = 0 if self.since is None else int(self.since.timestamp())
        settled = " settled" if self.settled else ""
        return f"{self.system} {self.timeline} {self.first} {since}{settled}\n".encode()


def decoded(content: bytes | None) -> Promotion | None:
    """Return what a file has; None for one that is not there, or damaged."""
    match = _MARK.fullmatch((content or b"").decode(errors="replace"))
    if match is None:
        return None
    since = int(match[4])
    return Promotion(
        system=match[1],
        timeline=match[2],
        first=match[3],
        since=datetime.fromtimestamp(since, UTC) if since else None,
        settled=match[5] is not None,
    )


def segments(names: Iterable[str]) -> list[str]:
    """Return those of these names that are segments, the oldest first, whatever their timelines."""
    return sorted(filter(_SEGMENT.fullmatch, names), key=lambda name: (name[_TIMELINE:], name))


def folders_before(first: str, folders: Iterable[str]) -> list[str]:
    """Return the folders of an archive that can have what is right before a segment."""
    log = _before(first)[_TIMELINE:16]
    return [name for name in folders if name[_TIMELINE:] == log]


def is_hole(first: str, folders: Collection[str], names: Collection[str]) -> bool:
    """Return whether an archive has WAL, and not what is right before a segment.

    ``names`` are what the folders of ``folders_before`` have.  An archive that begins later lacks nothing.
    """
    before = _before(first)[_TIMELINE:]
    there = {name[_TIMELINE:24] for name in names if _SEGMENT.match(name)}
    if before in there:
        return False
    has_older_folder = any(name[_TIMELINE:] < before[:_TIMELINE] for name in folders)
    return has_older_folder or any(name < before for name in there)


def _before(segment: str) -> str:
    number = int(segment[_TIMELINE:16], 16) * _PER_FOLDER + int(segment[16:], 16) - 1
    high, low = divmod(max(number, 0), _PER_FOLDER)
    return f"{segment[:_TIMELINE]}{high:08X}{low:08X}"
