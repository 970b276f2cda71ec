"""What ``pgbackrest repo-ls --output=json`` says of the archive of a cluster.  Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

_ARCHIVE = re.compile(r"\d+(?:\.\d+)?-(\d+)")  # such as 15-1: version and number of the history
_FOLDER = re.compile(r"[0-9A-F]{16}")  # of 256 segments: timeline and the higher half of their number


class Listed(msgspec.Struct, frozen=True):
    """A name in a repository; ``time`` is Unix time, and of files alone."""

    type: str
    time: int = 0


Listing = Mapping[str, Listed]


def parse(text: str) -> Listing:
    """Return what the output names; ValueError when it is none of pgBackRest's."""
    try:
        return msgspec.json.decode(text, type=dict[str, Listed])
    except msgspec.DecodeError as error:
        raise ValueError(f"pgBackRest said something else than expected: {error}") from None


def newest_archive(listing: Listing) -> str:
    """Return the name of the newest part of an archive, "" if there is none."""
    found = [(int(match[1]), name) for name in listing if (match := _ARCHIVE.fullmatch(name))]
    return max(found, default=(0, ""))[1]


def folders(listing: Listing) -> list[str]:
    """Return the folders of an archive's part, the oldest of each timeline first."""
    return sorted(filter(_FOLDER.fullmatch, listing))


def newest_folders(listing: Listing) -> list[str]:
    """Return the folders with the newest segments, of each timeline the last one."""
    newest: dict[str, str] = {}
    for name in folders(listing):
        newest[name[:8]] = name
    return list(newest.values())


def newest_file(listing: Listing) -> datetime | None:
    """Return when the newest file was written."""
    times = [one.time for one in listing.values() if one.type == "file"]
    return datetime.fromtimestamp(max(times), UTC) if times else None
