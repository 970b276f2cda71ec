"""In which order an online migration restores the entries of a dump.  Pure.

First what rows need: schemas, types, functions, tables, and the keys that changes are told apart by.  When
the rows are there, the other indexes.  At the end what would run or be checked for each change, such as
triggers and foreign keys; so no code of the source's owner runs while changes are applied, but expressions of
generated columns, constraints and indexes, as a role without rights.  Grants come last, when objects have
their owners.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass

from cenote.importing.archive_list import Entry

_INDEXES = frozenset({"INDEX", "INDEX ATTACH", "CONSTRAINT"})
_AFTER = frozenset(
    {
        *("FK CONSTRAINT", "CHECK CONSTRAINT", "TRIGGER", "RULE", "POLICY", "ROW SECURITY", "STATISTICS"),
        *("MATERIALIZED VIEW DATA", "PUBLICATION", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA"),
    }
)
_GRANTS = frozenset({"ACL", "DEFAULT ACL"})
_DATA = frozenset({"TABLE DATA", "SEQUENCE SET", "BLOB", "BLOBS", "BLOB METADATA", "STATISTICS DATA"})
_LARGE_OBJECTS = frozenset({"BLOB", "BLOBS", "BLOB METADATA"})
# The objects are there, and belong to another role than the one that restores.
_OF_OTHERS = ("- EXTENSION ", "- SCHEMA public ")


@dataclass(frozen=True, slots=True)
class Phases:
    definitions: tuple[Entry, ...]
    keys: tuple[Entry, ...]
    indexes: tuple[Entry, ...]
    after: tuple[Entry, ...]
    grants: tuple[Entry, ...]


def split(
    entries: Iterable[Entry], keys: Set[tuple[int, int]], *, schemas: Collection[int], ours: str
) -> Phases:
    """Return the entries of each phase.

    ``keys`` are class and OID of the keys on the source.  ``schemas`` are the dump IDs of schemas that are
    there already; ``ours`` is the name of our publication on the source.
    """
    found: dict[str, list[Entry]] = {name: [] for name in Phases.__slots__}
    kinds: dict[int, str] = {}
    for one in entries:
        phase = _phase(one, keys, kinds)
        kinds[one.dump_id] = phase
        if phase and one.dump_id not in schemas and not _is_left_out(one, ours):
            found[phase].append(one)
    return Phases(**{name: tuple(listed) for name, listed in found.items()})


def large_objects(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(one for one in entries if one.kind in _LARGE_OBJECTS)


def table_data(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(one for one in entries if one.kind == "TABLE DATA")


def _phase(entry: Entry, keys: Set[tuple[int, int]], phases: dict[int, str]) -> str:
    if entry.kind in _DATA or entry.kind == "EXTENSION":
        return ""
    if entry.kind in _GRANTS:
        return "grants"
    if entry.kind in _INDEXES:
        return "keys" if (entry.class_id, entry.oid) in keys else "indexes"
    if entry.kind in _AFTER:
        return "after"
    if entry.kind == "COMMENT":  # of an object that comes late; what depends on nothing known is early
        about = [phases[id] for id in entry.depends_on if id in phases]
        return max(about, key=list(Phases.__slots__).index, default="definitions") if all(about) else ""
    return "definitions"


def _is_left_out(entry: Entry, ours: str) -> bool:
    if entry.kind in ("PUBLICATION", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA"):
        return ours in entry.name.split(" ")
    return entry.kind == "COMMENT" and entry.name.startswith(_OF_OTHERS)
