"""The table of contents of a dump, as ``pg_restore --list --verbose`` prints it.

pg_restore takes the same lines back with ``--use-list``; it reads only the number at the beginning of a line,
the dump ID.  Names in the list are for people: pg_restore replaces line breaks in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_LINE = re.compile(r"(\d+); (\d+) (\d+) (.*)")
_DEPENDENCIES = re.compile(r";\tdepends on:((?: \d+)*)")
# Types of entries with a space in them; every other type is the first word of the line.
_DESCRIPTIONS = (
    *("ACCESS METHOD", "BLOB METADATA", "CHECK CONSTRAINT", "DATABASE PROPERTIES", "DEFAULT ACL"),
    *("EVENT TRIGGER", "FK CONSTRAINT", "FOREIGN DATA WRAPPER", "FOREIGN TABLE", "INDEX ATTACH"),
    *("LARGE OBJECT", "MATERIALIZED VIEW DATA", "MATERIALIZED VIEW", "OPERATOR CLASS", "OPERATOR FAMILY"),
    *("PROCEDURAL LANGUAGE", "PUBLICATION TABLES IN SCHEMA", "PUBLICATION TABLE", "ROW SECURITY"),
    *("SECURITY LABEL", "SEQUENCE OWNED BY", "SEQUENCE SET", "SHELL TYPE", "STATISTICS DATA"),
    *("SUBSCRIPTION TABLE", "TABLE ATTACH", "TABLE DATA", "TEXT SEARCH CONFIGURATION"),
    *("TEXT SEARCH DICTIONARY", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "USER MAPPING"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: ``kind`` is its type, such as TABLE DATA; ``name`` is schema, name and owner, for people.

    ``class_id`` and ``oid`` are the object's place in the catalogs of the source; both are 0 for entries that
    are about another object, such as ACL and COMMENT, which have its dump ID in ``depends_on``.
    """

    dump_id: int
    class_id: int
    oid: int
    kind: str
    name: str
    depends_on: tuple[int, ...] = field(default=())

    @property
    def title(self) -> str:
        """The entry for people: ``TABLE public orders app``."""
        return f"{self.kind} {self.name}"

    @property
    def owner(self) -> str:
        """The last word: the owner, where its name has no space."""
        return self.name.rpartition(" ")[2]


def parse(text: str) -> list[Entry]:
    """Return the entries of a list in their order; lines that are no entries are passed over."""
    found: list[Entry] = []
    for line in text.split("\n"):  # a name may have other line breaks
        if (match := _LINE.fullmatch(line)) is not None:
            kind, name = _split(match[4])
            found.append(Entry(int(match[1]), int(match[2]), int(match[3]), kind, name))
        elif found and (match := _DEPENDENCIES.fullmatch(line)) is not None:
            last = found[-1]
            needed = tuple(map(int, match[1].split()))
            found[-1] = Entry(last.dump_id, last.class_id, last.oid, last.kind, last.name, needed)
    return found


def render(entries: Iterable[Entry]) -> str:
    """Return the text of a file for ``--use-list``."""
    return "".join(f"{one.dump_id}; {one.class_id} {one.oid} {one.kind}\n" for one in entries)


def _split(text: str) -> tuple[str, str]:
    for known in _DESCRIPTIONS:
        if text.startswith(f"{known} "):
            return known, text[len(known) + 1 :]
    kind, _, name = text.partition(" ")
    return kind, name
