"""How each configuration format quotes a text.

A newline or NUL ends a line in all of them and can be written in none, so it is refused, whatever the format.
"""

import re

from cenote.errors import Invalid

_POOL_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def one_line(text: str) -> str:
    """Return the text if it can stand on one line of a file, else raise Invalid."""
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise Invalid(f"{text!r} has a control character, which no configuration file can hold")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise Invalid(f"{text!r} has half a character, which cannot be written as UTF-8")
    return text


def postgresql_value(text: str) -> str:
    """``postgresql.conf``: single quotes; a quote is doubled, a backslash begins an escape there."""
    return "'" + one_line(text).replace("\\", "\\\\").replace("'", "''") + "'"


def hba_token(text: str) -> str:
    """``pg_hba.conf`` and ``pg_ident.conf``: double quotes take away every special meaning but a regex's.

    A leading slash begins a regular expression even inside quotes (PostgreSQL 16 and later, ``hba.c``).
    """
    if text.startswith("/"):
        raise Invalid(f"{text!r} begins with a slash, which these files read as a regular expression")
    return '"' + one_line(text).replace('"', '""') + '"'


def userlist_token(text: str) -> str:
    """PgBouncer's ``auth_file``: double quotes, a quote inside is doubled."""
    return '"' + one_line(text).replace('"', '""') + '"'


def pgbouncer_value(text: str) -> str:
    """A value of a ``[databases]`` line: single quotes, a quote inside is doubled."""
    return "'" + one_line(text).replace("'", "''") + "'"


def pgbouncer_key(text: str) -> str:
    """The name of a ``[databases]`` line, which cannot be quoted.

    PgBouncer does not start at all on a name of other characters, so one of them would stop every pool.
    """
    if not _POOL_NAME.fullmatch(text):
        raise Invalid(f"{text!r} cannot name a pool: only letters, digits, '_', '.' and '-' can")
    return text
