"""Compares source and target after an import."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg

from cenote.importing import target
from cenote.importing.facts import Relation
from cenote.importing.progress import Progress
from cenote.logs.terminal_text import printable

_KINDS = {
    "r": "table",
    "p": "partitioned table",
    "m": "materialized view",
    "v": "view",
    "S": "sequence",
    "f": "foreign table",
}


def missing(expected: Iterable[Relation], there: frozenset[Relation]) -> list[str]:
    """Return what should be on the target and is not."""
    return [
        f"{_KINDS[one.kind]} {printable(str(one))} is missing on the target"
        for one in sorted(set(expected) - there)
    ]


def contents(
    old: psycopg.Connection[Any],
    new: psycopg.Connection[Any],
    relations: Iterable[Relation],
    progress: Progress,
) -> tuple[list[str], int]:
    """Count the rows of each table and read each sequence on both sides; return differences and how many.

    The source is read as of the moment of the dump, except sequences, which have no such thing.
    """
    differences: list[str] = []
    compared = [one for one in sorted(relations) if one.has_rows or one.kind == "S"]
    for number, one in enumerate(compared, 1):
        progress.show(f"compare: {number} of {len(compared)}; {printable(str(one))}")
        ask = target.count_rows if one.has_rows else target.sequence_value
        try:
            before, after = ask(old, one), ask(new, one)
        except psycopg.DatabaseError as error:
            if old.closed or new.closed:
                raise
            differences.append(
                f"{printable(str(one))} cannot be compared: {error.diag.message_primary or error}"
            )
            continue
        if before != after:
            what = "rows" if one.has_rows else "(last value, called)"
            differences.append(
                f"{printable(str(one))} has {before} {what} on the source, {after} on the target"
            )
    progress.close()
    return differences, len(compared)
