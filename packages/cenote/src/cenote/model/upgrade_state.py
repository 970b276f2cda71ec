"""How far the upgrade of a node's data to another major version is: a file beside the data, which is ours.

The data themselves say which version they have.  What else was begun stands here, so that an agent that takes
over goes on or begins again.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class UpgradeStage(StrEnum):
    """CHECKING: ``pg_upgrade --check`` works beside the server.  RUNNING: that is stopped for pg_upgrade.

    FINISHING: the new data get what pg_upgrade leaves out.  STARTING: they have taken the place of the former
    ones.  STATISTICS: the new server works.  AGAIN: an attempt was interrupted, and the former server is
    started for the next one.
    """

    CHECKING = "checking"
    RUNNING = "running"
    FINISHING = "finishing"
    STARTING = "starting"
    STATISTICS = "statistics"
    DONE = "done"
    AGAIN = "again"
    REFUSED = "refused"


class IndexCollation(msgspec.Struct, frozen=True, kw_only=True):
    """A collation by which an index of a database sorts, and the version of its library."""

    database: str
    name: str
    version: str


class UpgradeState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``asked_at`` tells which upgrade it is of.

    ``tries`` counts the attempts that were interrupted, ``starts`` those to start the new server.

    ``stopped_at`` is when the former server was stopped, in seconds since the boot ``boot``, and ``held_ms``
    for how long no server took queries.  ``first_end`` is where the WAL of the new data ended before their
    first start, in bytes.  ``refused`` is why the upgrade is not made, in words.

    ``collations`` are those of indexes on the former server, ``sorts_anew`` those of them that have another
    version on the new one.
    """

    asked_at: datetime
    version: str
    stage: UpgradeStage
    tries: int = 0
    starts: int = 0
    boot: str = ""
    stopped_at: float = 0.0
    held_ms: int = 0
    first_end: int = 0
    refused: str = ""
    ledger: tuple[tuple[str, str], ...] = ()
    databases: tuple[str, ...] = ()
    has_statements: bool = False
    collations: tuple[IndexCollation, ...] = ()
    sorts_anew: tuple[IndexCollation, ...] = ()

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


def decode(content: bytes | None) -> UpgradeState | None:
    """Return the state in a file; None without one, and for what is none."""
    try:
        return msgspec.json.decode(content or b"", type=UpgradeState)
    except msgspec.DecodeError:
        return None
