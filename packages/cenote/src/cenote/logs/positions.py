"""How far a sink has got: a small file for each sink, beside the logs, so that nothing is lost by a restart.

It is there from the moment that the sink is made, and says only of what has been delivered that it was.
"""

from __future__ import annotations

import msgspec

from cenote.model.records import LogSource


class LogPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a log: the number of the file (0: there was none yet), and the bytes before the place."""

    file: int = 0
    at: int = 0


class LogExtent(msgspec.Struct, frozen=True):
    """The bytes ``begin`` to ``size`` of a log are there; those before were cut out as a hole."""

    file: int
    begin: int
    size: int


class Positions(msgspec.Struct, frozen=True, kw_only=True):
    """The place in each log, and the counts that the API shows."""

    places: dict[LogSource, LogPosition]
    lost_bytes: int = 0
    refused_messages: int = 0

    def at(self, source: LogSource) -> LogPosition:
        return self.places.get(source, LogPosition())


def encode(positions: Positions) -> bytes:
    return msgspec.json.encode(positions) + b"\n"


def decode(content: bytes) -> Positions:
    """Return what a file holds; of a damaged one the beginning, as twice is better than never."""
    try:
        return msgspec.json.decode(content, type=Positions)
    except msgspec.DecodeError:
        return Positions(places={})
