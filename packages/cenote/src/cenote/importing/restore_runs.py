"""In which runs of pg_restore an import restores the entries of a dump.  Pure.

The workers of a parallel pg_restore write to the same stderr, piece by piece, so what they say of two entries
may be mixed up.  Errors that are expected and then set right, such as those of grants and owners, therefore
come from runs with one job.  Rows, indexes and keys, which take the time and give none, have several.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cenote.importing.archive_list import Entry

_FIRST, _PARALLEL, _LAST, _REFRESHED = range(4)
_STAGES = {
    **dict.fromkeys(("TABLE DATA", "BLOBS", "SEQUENCE SET", "INDEX", "INDEX ATTACH"), _PARALLEL),
    **dict.fromkeys(("CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT"), _PARALLEL),
    **dict.fromkeys(("RULE", "TRIGGER", "POLICY", "ROW SECURITY", "STATISTICS", "STATISTICS DATA"), _LAST),
    **dict.fromkeys(("PUBLICATION", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA"), _LAST),
    **dict.fromkeys(("ACL", "DEFAULT ACL"), _LAST),
    # The owner of a materialized view may read what it is made of by a grant alone.
    "MATERIALIZED VIEW DATA": _REFRESHED,
}


@dataclass(frozen=True, slots=True)
class Run:
    """The entries of one run, and whether it may have several jobs."""

    entries: tuple[Entry, ...]
    parallel: bool


def split(entries: Iterable[Entry]) -> tuple[Run, ...]:
    """Return the runs for entries in the order of their dump, each of which follows what it depends on."""
    stages: dict[int, int] = {}
    runs: list[list[Entry]] = [[], [], [], []]
    for one in entries:
        stage = max((stages[id] for id in one.depends_on if id in stages), default=_FIRST)
        stages[one.dump_id] = stage = _stage(one, stage)
        runs[stage].append(one)
    return tuple(
        Run(tuple(listed), number in (_PARALLEL, _REFRESHED)) for number, listed in enumerate(runs) if listed
    )


def _stage(entry: Entry, needed: int) -> int:
    """Return the run of an entry that depends on something in the run ``needed``."""
    own = _STAGES.get(entry.kind, _FIRST)
    if own == _FIRST and needed == _PARALLEL:
        return _LAST  # such as a view that needs a primary key: it has an owner
    return max(own, needed)
