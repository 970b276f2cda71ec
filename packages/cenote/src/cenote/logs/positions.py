"""Positions of log sinks: a small file for each sink beside the logs, so that a restart loses no messages.

The file is created with the sink and advances only after delivery (at least once).
"""

from __future__ import annotations

import msgspec

from cenote.model.records import LogSource


class LogPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A position in a log: the number of the file (0: none yet), and the offset in bytes."""

    file: int = 0
    at: int = 0


class LogExtent(msgspec.Struct, frozen=True):
    """The bytes ``begin`` to ``size`` of a log exist; those before were punched out as a hole."""

    file: int
    begin: int
    size: int


class Positions(msgspec.Struct, frozen=True, kw_only=True):
    """The position in each log, and the counters that the API shows."""

    places: dict[LogSource, LogPosition]
    lost_bytes: int = 0
    refused_messages: int = 0

    def at(self, source: LogSource) -> LogPosition:
        return self.places.get(source, LogPosition())


def encode(positions: Positions) -> bytes:
    return msgspec.json.encode(positions) + b"\n"


def decode(content: bytes) -> Positions:
    """Parse a file; a damaged one starts over, as duplicates are better than losses."""
    try:
        return msgspec.json.decode(content, type=Positions)
    except msgspec.DecodeError:
        return Positions(places={})
