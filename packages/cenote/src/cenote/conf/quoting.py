"""Quoting of strings in each configuration format.

No format can represent a newline or NUL within a line, so control characters are refused in all of them.
"""

import re

from cenote.errors import Invalid

_POOL_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def one_line(text: str) -> str:
    """Return the text if it fits on one line of a file, else raise Invalid."""
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise Invalid(f"{text!r} contains a control character, which no configuration file can hold")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise Invalid(f"{text!r} contains a surrogate, which cannot be encoded as UTF-8")
    return text


def postgresql_value(text: str) -> str:
    """``postgresql.conf``: single quotes; quotes and backslashes inside are doubled."""
    return "'" + one_line(text).replace("\\", "\\\\").replace("'", "''") + "'"


def conninfo_value(text: str) -> str:
    """A value of a libpq connection string: single quotes; quotes and backslashes get a backslash."""
    return "'" + one_line(text).replace("\\", "\\\\").replace("'", "\\'") + "'"


def hba_token(text: str) -> str:
    """``pg_hba.conf`` and ``pg_ident.conf``: double quotes disable special meanings, except of a slash.

    A leading slash starts a regular expression even inside quotes (PostgreSQL 16 and later, ``hba.c``).
    """
    if text.startswith("/"):
        raise Invalid(f"{text!r} begins with a slash, which starts a regular expression in these files")
    return '"' + one_line(text).replace('"', '""') + '"'


def userlist_token(text: str) -> str:
    """PgBouncer's ``auth_file``: double quotes, a quote inside is doubled."""
    return '"' + one_line(text).replace('"', '""') + '"'


def pgbouncer_value(text: str) -> str:
    """A value of a ``[databases]`` line: single quotes, a quote inside is doubled."""
    return "'" + one_line(text).replace("'", "''") + "'"


def pgbouncer_key(text: str) -> str:
    """The key of a ``[databases]`` line, which cannot be quoted.

    PgBouncer does not start with any other character in a key, so one would stop every pool.
    """
    if not _POOL_NAME.fullmatch(text):
        raise Invalid(f"{text!r} cannot name a pool: only letters, digits, '_', '.' and '-' can")
    return text
