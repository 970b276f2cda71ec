"""From the bytes of a server's log to messages.

A message may take several lines.  Both servers begin a line within a message with a tab, whatever the text
in it is; PostgreSQL writes what belongs to a message (DETAIL, STATEMENT, …) as lines right after it, in the
same write.
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
    """What a server said once, and the bytes ``start`` to ``end`` of its log that it stands in.

    ``text`` is all of it but the time and the process.  ``at`` is None where the line does not tell its time.
    ``origin`` tells it from an equal one at the same place of a file that was there before, or of this one
    before it was emptied.
    """

    source: LogSource
    start: int
    end: int
    text: str = field(repr=False)  # a customer's statement, perhaps
    severity: Severity = Severity.LOG
    at: datetime | None = None
    process: int | None = None
    user: str = ""
    database: str = ""
    application: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    """The first line of a message, or of a further part of one (DETAIL, STATEMENT, …)."""

    text: str
    word: str = "LOG"
    at: datetime | None = None
    process: int | None = None
    names: tuple[str, str, str] = ("", "", "")  # user, database, application

    @property
    def is_part(self) -> bool:
        return self.word in _PARTS


class _OpenMessage:
    """A message to which further lines may come."""

    def __init__(self, source: LogSource, start: int, first: _Line) -> None:
        self._source, self._start, self.first = source, start, first
        self._lines, self._length = [first.text], len(first.text)

    def add(self, text: str) -> None:
        if self._length < MAX_TEXT:
            self._lines.append(text)
        self._length += 1 + len(text)

    def until(self, end: int) -> Message:
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
            severity=Severity.LOG if first.is_part else _severity(first.word),
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
# Characters before the level of a message: three names of 63 bytes, which PostgreSQL may spell with four
# times as many characters, and an address.
_MAX_PREFIX = 900
_PGBOUNCER = re.compile(r"(?P<word>NOISE|DEBUG|LOG|WARNING|ERROR|FATAL) ")
_UTC = frozenset({"UTC", "GMT"})


def parse_messages(data: bytes, source: LogSource, start: int = 0) -> list[Message]:
    """Return the messages in a piece of a log that begins with a line, at ``start`` in the file.

    The last one may go on in what is not written yet.  A line without its end is left out.
    """
    found: list[Message] = []
    open_one: _OpenMessage | None = None
    position = start
    for raw in data.split(b"\n")[:-1]:
        # A machine that lost its power may leave zeros where a line was meant to be.
        text = raw.replace(b"\0", b"").decode(errors="replace")
        if open_one is not None and (not text or text[0] == "\t"):
            open_one.add(text)
        else:
            line = _line(text, source)
            if open_one is not None and line.is_part and line.process == open_one.first.process:
                open_one.add(line.text)
            else:
                if open_one is not None:
                    found.append(open_one.until(position))
                open_one = _OpenMessage(source, position, line)
        position += len(raw) + 1
    if open_one is not None:
        found.append(open_one.until(position))
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
        return _Line(rest, head["word"] if head else "LOG", at, process)
    level, names = _postgres_prefix(rest)
    if level is None:
        return _Line(rest, at=at, process=process)
    if level[1] in _PARTS:
        rest = rest[level.start() :]
    return _Line(rest, level[1], at, process, names)


def _postgres_prefix(rest: str) -> tuple[re.Match[str] | None, tuple[str, str, str]]:
    """Return where a message's level stands, and what ``log_line_prefix`` tells between its time and that.

    It knows the prefixes that the API offers.  Customers choose the names, so whatever these are, it looks
    through the text once: an expression for the whole would try every way to take it apart.
    """
    counted = _LINE_NUMBER.match(rest)
    begin = counted.end() if counted else 0
    level = _LEVEL.match(rest, begin)
    if level is not None or not rest.startswith(("user=", "[user="), begin):
        return level, ("", "", "")
    level = _LEVEL.search(rest, begin, begin + _MAX_PREFIX)
    if level is None:
        return None, ("", "", "")
    told = rest[begin : level.start()].removesuffix(" ").removesuffix("]")
    user, _, more = told.removeprefix("[").removeprefix("user=").partition(",db=")
    database, _, more = more.partition(",app=")
    return level, (user, database, more.partition(",client=")[0])


def _severity(word: str) -> Severity:
    return Severity.DEBUG if word.startswith(("DEBUG", "NOISE")) else Severity(word.lower())


def _time(text: str, zone: str) -> datetime | None:
    """Return a time; of other zones than UTC the names are ambiguous."""
    if zone not in _UTC:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None
