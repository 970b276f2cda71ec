"""Readers of the configuration formats, written after the programs' own rules, to read back what we write."""

from __future__ import annotations

import re


def tokens(line: str) -> list[str]:
    """The fields of a line of ``pg_hba.conf``, ``pg_ident.conf`` or PgBouncer's HBA file.

    A quoted field keeps its quotes' effect as a leading ``"``, since it means the text and no keyword.
    """
    found, rest = [], line.strip()
    while rest and not rest.startswith("#"):
        quoted = re.match(r'"((?:[^"]|"")*)"', rest)
        if quoted:
            found.append('"' + quoted[1].replace('""', '"'))
            rest = rest[quoted.end() :].lstrip(" ")
        else:
            word, _, rest = rest.partition(" ")
            assert '"' not in word, f"a quote in the middle of a word: {line!r}"
            found.append(word)
            rest = rest.lstrip(" ")
    return found


def userlist(line: str) -> tuple[str, str]:
    """A line of PgBouncer's ``auth_file``: a name and a password, both quoted."""
    found = re.fullmatch(r'"((?:[^"]|"")*)" "((?:[^"]|"")*)"', line)
    assert found, f"no line of an auth_file: {line!r}"
    return found[1].replace('""', '"'), found[2].replace('""', '"')


def database_line(line: str) -> tuple[str, dict[str, str]]:
    """A line of ``[databases]``: the pool's name and its connect string."""
    name, equals, rest = line.partition(" = ")
    assert equals, f"no line of [databases]: {line!r}"
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", name), f"PgBouncer does not take the name {name!r}"
    values = {}
    while rest:
        pair = re.match(r"([a-z_]+)='((?:[^']|'')*)'(?: |$)", rest)
        assert pair, f"no connect string: {rest!r}"
        values[pair[1]] = pair[2].replace("''", "'")
        rest = rest[pair.end() :]
    return name, values


def postgresql(text: str) -> dict[str, str]:
    """``postgresql.conf``: a setting a line, every value in single quotes."""
    settings = {}
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            found = re.fullmatch(r"(\w+) = '((?:[^'\\]|''|\\.)*)'", line)
            assert found, f"no setting: {line!r}"
            settings[found[1]] = re.sub(r"''|\\(.)", lambda match: match[1] or "'", found[2])
    return settings
