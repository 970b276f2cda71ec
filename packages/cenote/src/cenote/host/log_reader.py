"""Reading a log from a place on, message by message, while its server goes on writing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from cenote.host import log_files
from cenote.logs.messages import Message, messages
from cenote.logs.positions import LogPosition
from cenote.model.records import LogSource

PIECE = 256 * 1024  # bytes that are read at once
LARGEST = 2**20  # bytes of one message; what is longer counts as several
QUIET = 0.2  # seconds without a further byte after which a message at the end counts as whole


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages, and the place after them.  ``lost`` bytes before them are gone, and ``words`` say of what."""

    messages: tuple[Message, ...] = field(repr=False)
    place: LogPosition
    lost: int = 0
    words: str = ""


class LogReader:
    def __init__(self, path: Path, source: LogSource, place: LogPosition) -> None:
        self._path, self._source, self._place = path, source, place
        self._size, self._since = -1, 0.0
        self._last_at: datetime | None = None

    async def more(self) -> Batch:
        """Return what has been written since the last call, or nothing."""
        if log_files.end(self._path) == self._place:
            return Batch((), self._place)
        batch = await asyncio.to_thread(self._more)
        self._place = batch.place
        return batch

    def _more(self) -> Batch:
        end, place = log_files.end(self._path), self._place
        if end.file == 0:
            return Batch((), place)
        words = ""
        if place.file not in (0, end.file) or place.at > end.at:
            words = f"the log of {self._source} was replaced or emptied by somebody"
            place = LogPosition()
        place = LogPosition(file=end.file, at=place.at)
        found, start = self._whole(place.at)
        lost = start - place.at
        if lost:
            words = f"{lost} bytes of the log of {self._source} were dropped before they could be sent"
        told = tuple(self._dated(message, end.file) for message in found)
        return Batch(told, LogPosition(file=end.file, at=told[-1].end if told else start), lost, words)

    def _whole(self, start: int) -> tuple[list[Message], int]:
        """Return the messages from a place on that are there as a whole, and where the log begins."""
        most = PIECE
        while True:
            piece = log_files.read(self._path, start, most)
            if piece is None:
                return [], start
            if piece.size != self._size:
                self._size, self._since = piece.size, time.monotonic()
            found = messages(piece.data, self._source, piece.start)
            if piece.start + len(piece.data) >= piece.size:
                if found and time.monotonic() - self._since < QUIET:
                    found.pop()
                return found, piece.start
            if len(found) > 1:
                return found[:-1], piece.start
            if most >= LARGEST:
                return self._cut(piece), piece.start
            most *= 4

    def _cut(self, piece: log_files.Piece) -> list[Message]:
        """Return what is too long for a message as one, so that it goes on after it."""
        end = piece.start + len(piece.data)
        return [
            replace(found, end=end) for found in messages(piece.data + b"\n", self._source, piece.start)[:1]
        ]

    def _dated(self, message: Message, file: int) -> Message:
        """Return a message with its origin, and with a time: its own, that before it, or this moment."""
        if message.at is None:  # a time that is not its own may be another one when it is read again
            return replace(message, at=self._last_at or datetime.now(UTC), origin=str(file))
        self._last_at = message.at
        return replace(message, origin=f"{file} {message.at.isoformat()}")
