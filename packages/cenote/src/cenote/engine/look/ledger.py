"""The ledger of what we created on a node's server."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.ledger import Ledger, State
from cenote.host.sql import Session

_NAMES = """
SELECT kind, array_agg(name) FROM cenote.made
WHERE kind IN ('role', 'database', 'owner', 'opened', 'removed') GROUP BY kind
"""


async def look(session: Session) -> Ledger:
    return Ledger({kind: frozenset(names) for kind, names in await session.rows(SUPERUSER, _NAMES)})


async def look_at_state(session: Session, kind: str) -> State:
    """Return what of the record was brought about, of roles or databases."""
    query = f"SELECT name FROM cenote.made WHERE kind = '{kind}'"  # noqa: S608 - a constant of ours
    return State.of_rows(name for (name,) in await session.rows(SUPERUSER, query))
