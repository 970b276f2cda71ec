"""What is checked before anything is changed: what stops an import, and what is worth knowing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cenote.importing.facts import Source, Target
from cenote.importing.progress import size
from cenote.logs.terminal_text import printable

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """``stops``: nothing is done while it is so."""

    text: str
    stops: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that are free: where the dump is written, and in the cluster's storage (None if unknown)."""

    dump: int
    storage: int | None


def check(
    source: Source, target: Target, room: Room, *, into_non_empty: bool, replace: bool
) -> list[Finding]:
    """Return the findings, those that stop the import first."""
    found = [*_stops(source, target, into_non_empty, replace), *_remarks(source, target, room)]
    return sorted(found, key=lambda finding: not finding.stops)


def _stops(source: Source, target: Target, into_non_empty: bool, replace: bool) -> Iterator[Finding]:
    if source.pooler:
        yield Finding(
            "The source answers through a connection pooler, where pg_dump's settings reach other clients;"
            " use the direct port of the server.",
            stops=True,
        )
    same = source.system_identifier is not None and source.system_identifier == target.system_identifier
    if same and source.oid == target.oid:
        yield Finding("Source and target are the same database.", stops=True)
    if source.unreadable:
        yield Finding(
            f"User {source.user} of the source cannot read {some(source.unreadable)}; grant SELECT on them"
            " and USAGE on their schemas, or use another user.",
            stops=True,
        )
    if source.row_security:
        yield Finding(
            f"Row-level security hides rows of {some(source.row_security)} from user {source.user} of the"
            " source; use their owner, or a user with BYPASSRLS.",
            stops=True,
        )
    if target.contents and not into_non_empty and not replace:
        yield Finding(
            f"Database {target.database} is not empty: it has {some(target.contents)}. Choose another name,"
            " or --replace to delete what is there, or --into-non-empty to add to it.",
            stops=True,
        )


def _remarks(source: Source, target: Target, room: Room) -> Iterator[Finding]:
    if source.version // 10_000 > target.version // 10_000:
        yield Finding(
            f"The source is PostgreSQL {source.version // 10_000}, the target {target.version // 10_000}:"
            " what only newer versions know fails with an error."
        )
    if source.encoding != target.encoding:
        yield Finding(
            f"The encoding is {source.encoding} on the source and {target.encoding} on the target; text is"
            " converted."
        )
    if source.collation != target.collation:
        yield Finding(
            f"The collation is {source.collation} on the source and {target.collation} on the target: text"
            " may be sorted in another order."
        )
    if room.dump < source.bytes:
        yield Finding(
            f"The database has {size(source.bytes)}, and {size(room.dump)} are free for the dump. A dump is"
            " compressed and has no indexes, so it may fit; --dump-dir chooses another disk."
        )
    if room.storage is not None and room.storage < source.bytes:
        yield Finding(
            f"The database has {size(source.bytes)}, and the cluster's storage has {size(room.storage)};"
            " 'cenote cluster resize' enlarges it."
        )


def some(names: tuple[str, ...]) -> str:
    """Return the first few names, and how many there are more."""
    more = len(names) - _SHOWN
    return printable(", ".join(names[:_SHOWN])) + (f" and {more} more" if more > 0 else "")
