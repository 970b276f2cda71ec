"""Which versions of PostgreSQL can be backed up here; tests that need one are skipped without."""

from __future__ import annotations

import pytest

from cenote.host import programs

FOUND = programs.find()
_READ = [
    major
    for major in FOUND.postgres
    if FOUND.pgbackrest is not None and programs.reads(FOUND.pgbackrest, major)
]

NEEDS_PGBACKREST = pytest.mark.skipif(
    not _READ, reason="there is no pgBackRest that reads an installed PostgreSQL"
)


def version() -> str:
    """Return the newest version that can be backed up."""
    return max(_READ, key=int)
