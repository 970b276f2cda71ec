"""Parser for the logs of PostgreSQL and PgBouncer.

A message may span several lines.  Both servers start continuation lines with a tab, whatever the text is;
PostgreSQL writes the fields of a message (DETAIL, STATEMENT, …) as lines right after it, in the same write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from cenote.model.records import LogSource

MAX_TEXT = 64 * 1024  # characters of one message


class Severity(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    LOG = "log"
    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "error"
    FATAL = "fatal"
    PANIC = "panic"


@dataclass(frozen=True, slots=True)
class Message:
    """A log message, at the bytes ``start`` to ``end`` of its log.

    ``text`` excludes the time and the process.  ``at`` is None when the line has no time.  ``origin``
    distinguishes it from an equal message at the same position of an earlier file, or of this file before it
    was truncated.
    """

    source: LogSource
    start: int
    end: int
    text: str = field(repr=False)  # may hold a customer's statement
    severity: Severity = Severity.LOG
    at: datetime | None = None
    process: int | None = None
    user: str = ""
    database: str = ""
    application: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    """The first line of a message, or of a field of one (DETAIL, STATEMENT, …)."""

    text: str
    level: str = "LOG"
    at: datetime | None = None
    process: int | None = None
    names: tuple[str, str, str] = ("", "", "")  # user, database, application

    @property
    def is_part(self) -> bool:
        return self.level in _PARTS


class _OpenMessage:
    """A message that more lines may belong to."""

    def __init__(self, source: LogSource, start: int, first: _Line) -> None:
        self._source, self._start, self.first = source, start, first
        self._lines, self._length = [first.text], len(first.text)

    def add(self, text: str) -> None:
        if self._length < MAX_TEXT:
            self._lines.append(text)
        self._length += 1 + len(text)

    def finish(self, end: int) -> Message:
        text = "\n".join(self._lines)[:MAX_TEXT]
        if self._length > MAX_TEXT:
            text += f" … ({self._length - MAX_TEXT} more characters)"
        first = self.first
        user, database, application = first.names
        return Message(
            source=self._source,
            start=self._start,
            end=end,
            text=text,
            severity=Severity.LOG if first.is_part else _severity(first.level),
            at=first.at,
            process=first.process,
            user=user,
            database=database,
            application=application,
        )


_TIME_AND_PID = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?) (\S+) \[(\d{1,10})\]:? ?")
_PID = re.compile(r"pid=(\d{1,10}),")
_PARTS = ("DETAIL", "HINT", "QUERY", "CONTEXT", "LOCATION", "STATEMENT", "BACKTRACE")
_LEVEL = re.compile(rf"(DEBUG\d?|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|{'|'.join(_PARTS)}):  ")
_LINE_NUMBER = re.compile(r"\[\d{1,19}-1\] ")
# Characters before the level of a message: three names of 63 bytes, which PostgreSQL may escape to four times
# as many characters, and an address.
_MAX_PREFIX = 900
_PGBOUNCER = re.compile(r"(?P<level>NOISE|DEBUG|LOG|WARNING|ERROR|FATAL) ")
_UTC = frozenset({"UTC", "GMT"})


def parse_messages(data: bytes, source: LogSource, start: int = 0) -> list[Message]:
    """Parse a part of a log, beginning with a full line at the offset ``start`` of the file.

    The last message may continue in lines not written yet.  An incomplete last line is ignored.
    """
    found: list[Message] = []
    open_one: _OpenMessage | None = None
    position = start
    for raw in data.split(b"\n")[:-1]:
        # A power failure may leave zeros in place of a line.
        text = raw.replace(b"\0", b"").decode(errors="replace")
        if open_one is not None and (not text or text[0] == "\t"):
            open_one.add(text)
        else:
            line = _line(text, source)
            if open_one is not None and line.is_part and line.process == open_one.first.process:
                open_one.add(line.text)
            else:
                if open_one is not None:
                    found.append(open_one.finish(position))
                open_one = _OpenMessage(source, position, line)
        position += len(raw) + 1
    if open_one is not None:
        found.append(open_one.finish(position))
    return found


def _line(text: str, source: LogSource) -> _Line:
    at: datetime | None = None
    process: int | None = None
    rest = text
    if when := _TIME_AND_PID.match(text):
        at, process, rest = _time(when[1], when[2]), int(when[3]), text[when.end() :]
    elif who := _PID.match(text):
        process, rest = int(who[1]), text[who.end() :]
    if source is LogSource.PGBOUNCER:
        head = _PGBOUNCER.match(rest)
        return _Line(rest, head["level"] if head else "LOG", at, process)
    level, names = _postgres_prefix(rest)
    if level is None:
        return _Line(rest, at=at, process=process)
    if level[1] in _PARTS:
        rest = rest[level.start() :]
    return _Line(rest, level[1], at, process, names)


def _postgres_prefix(rest: str) -> tuple[re.Match[str] | None, tuple[str, str, str]]:
    """Return the match of a message's level, and the user, database and application of ``log_line_prefix``.

    Supports the prefixes that the API offers.  Customers choose the names, so the text is scanned once only:
    a single expression for the whole prefix could backtrack without bound.
    """
    counted = _LINE_NUMBER.match(rest)
    begin = counted.end() if counted else 0
    level = _LEVEL.match(rest, begin)
    if level is not None or not rest.startswith(("user=", "[user="), begin):
        return level, ("", "", "")
    level = _LEVEL.search(rest, begin, begin + _MAX_PREFIX)
    if level is None:
        return None, ("", "", "")
    fields = rest[begin : level.start()].removesuffix(" ").removesuffix("]")
    user, _, more = fields.removeprefix("[").removeprefix("user=").partition(",db=")
    database, _, more = more.partition(",app=")
    return level, (user, database, more.partition(",client=")[0])


def _severity(word: str) -> Severity:
    return Severity.DEBUG if word.startswith(("DEBUG", "NOISE")) else Severity(word.lower())


def _time(text: str, zone: str) -> datetime | None:
    """Parse a time; None in other zones than UTC, whose abbreviations are ambiguous."""
    if zone not in _UTC:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None
