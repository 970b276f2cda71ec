"""Reads the messages of a growing log from a given position."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from cenote.host import log_files
from cenote.logs.messages import Message, parse_messages
from cenote.logs.positions import LogPosition
from cenote.model.records import LogSource
from cenote.model.timing import DEFAULT, Timing

CHUNK = 256 * 1024  # bytes per read
LARGEST = 2**20  # bytes of one message; a longer one is split


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages and the position after them.  ``lost`` bytes before them are gone; ``problem`` says why."""

    messages: tuple[Message, ...] = field(repr=False)
    position: LogPosition
    lost: int = 0
    problem: str = ""


class LogReader:
    def __init__(
        self, path: Path, source: LogSource, position: LogPosition, timing: Timing = DEFAULT
    ) -> None:
        self._path, self._source, self._position, self._quiet = path, source, position, timing.log_quiet
        self._size, self._since = -1, 0.0
        self._last_at: datetime | None = None

    async def read(self) -> Batch:
        """Return the messages written since the last call."""
        if log_files.end(self._path) == self._position:
            return Batch((), self._position)
        batch = await asyncio.to_thread(self._read)
        self._position = batch.position
        return batch

    def _read(self) -> Batch:
        end, position = log_files.end(self._path), self._position
        if end.file == 0:
            return Batch((), position)
        problem = ""
        if position.file not in (0, end.file) or position.at > end.at:
            problem = f"the log of {self._source} was replaced or truncated"
            position = LogPosition()
        position = LogPosition(file=end.file, at=position.at)
        found, start = self._complete(position.at)
        lost = start - position.at
        if lost:
            problem = f"{lost} bytes of the log of {self._source} were dropped before they could be sent"
        dated = tuple(self._dated(message, end.file) for message in found)
        return Batch(dated, LogPosition(file=end.file, at=dated[-1].end if dated else start), lost, problem)

    def _complete(self, start: int) -> tuple[list[Message], int]:
        """Return the complete messages from an offset on, and the first offset that the log still has."""
        size = CHUNK
        while True:
            chunk = log_files.read(self._path, start, size)
            if chunk is None:
                return [], start
            if chunk.size != self._size:
                self._size, self._since = chunk.size, time.monotonic()
            found = parse_messages(chunk.data, self._source, chunk.start)
            if chunk.start + len(chunk.data) >= chunk.size:
                if found and time.monotonic() - self._since < self._quiet:
                    found.pop()
                return found, chunk.start
            if len(found) > 1:
                return found[:-1], chunk.start
            if size >= LARGEST:
                return self._first_part(chunk), chunk.start
            size *= 4

    def _first_part(self, chunk: log_files.Chunk) -> list[Message]:
        """Return the first part of an overlong message as one message, so that reading continues after it."""
        end = chunk.start + len(chunk.data)
        return [
            replace(found, end=end)
            for found in parse_messages(chunk.data + b"\n", self._source, chunk.start)[:1]
        ]

    def _dated(self, message: Message, file: int) -> Message:
        """Return a message with its origin, and with a time: its own, the previous message's, or now."""
        if message.at is None:  # a substitute time may differ when the message is read again
            return replace(message, at=self._last_at or datetime.now(UTC), origin=str(file))
        self._last_at = message.at
        return replace(message, origin=f"{file} {message.at.isoformat()}")
