"""What a migration's source answers: taken only as what was asked for, and told in one line.

The server may be anybody's, and answer anything.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg.sql import Composed

from cenote.errors import CenoteError
from cenote.logs.terminal_text import printable

log = logging.getLogger(__name__)

ANSWER_SECONDS = 300.0  # for sizes of some 100,000 tables that are in no cache
_MOST_SAID = 500  # characters of an error
STRANGE_ANSWER = "the source answers with something that PostgreSQL does not"


class SourceProblem(CenoteError):
    """The source does not answer, or refuses what it was asked."""


Connection = psycopg.AsyncConnection[tuple[Any, ...]]


async def execute(
    connection: Connection, query: LiteralString | Composed, *values: Any
) -> psycopg.AsyncCursor[tuple[Any, ...]]:
    """Run a statement; SourceProblem when it is not answered for long, as whoever waits for it would hang."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await connection.execute(query, values or None)
    except TimeoutError:
        raise SourceProblem(f"the source has not answered for {ANSWER_SECONDS:g} seconds") from None


async def read_rows(
    connection: Connection, query: LiteralString | Composed, *values: Any, row: Any = tuple[Any, ...]
) -> list[Any]:
    """Return the rows of an answer, each of which is a ``row``; SourceProblem for others."""
    cursor = await execute(connection, query, *values)
    try:
        return msgspec.convert(await cursor.fetchall(), list[row])
    except ValueError as error:  # of msgspec, or UnicodeDecodeError and others of psycopg
        log.warning("a source answers with what PostgreSQL does not: %s", in_short(str(error)))
        raise SourceProblem(STRANGE_ANSWER) from None


async def read_row(connection: Connection, query: LiteralString | Composed, row: Any) -> Any:
    """Return the one row of an answer."""
    rows = await read_rows(connection, query, row=row)
    if len(rows) != 1:
        raise SourceProblem(STRANGE_ANSWER)
    return rows[0]


async def read_number(connection: Connection, query: LiteralString) -> int | None:
    try:
        (found,) = await read_row(connection, query, tuple[int])
    except psycopg.errors.InsufficientPrivilege:
        return None
    return int(found)


def in_words(error: psycopg.Error, *, tls: bool) -> str:
    said = in_short(error.diag.message_primary or str(error))
    if tls and "does not support SSL" in said:
        said += ": disable_ssl connects without encryption"
    kind = "the source cannot be reached" if error.diag.sqlstate is None else "the source refuses"
    return f"{kind}: {said}"


def in_short(text: str, most: int = _MOST_SAID) -> str:
    """Return what a source has said in one line, of so many characters, which a terminal only shows."""
    line = printable(" ".join(text[: 2 * most].split()))
    return line if len(line) <= most else f"{line[:most]}…"
