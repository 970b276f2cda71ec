"""The ledger of what we created on a node's server."""

from __future__ import annotations

from psycopg.sql import SQL, Literal

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.ledger import Ledger, State
from cenote.host.sql import Session
from cenote.model.records import Cluster

_NAMES = SQL(
    """
SELECT kind, array_agg(name) FROM cenote.made
WHERE kind IN ('role', 'database', 'owner', 'opened')
    OR (kind = 'removed' AND split_part(name, '/', 2) = ANY ({removing}::text[]))
GROUP BY kind
"""
)


async def look(session: Session, cluster: Cluster) -> Ledger:
    """Return the ledger; of the removals that were carried out, those that the record still has."""
    query = _NAMES.format(removing=Literal([str(one.id) for one in cluster.removing]))
    rows = await session.rows(SUPERUSER, query.as_string(None))
    return Ledger({kind: frozenset(names) for kind, names in rows})


async def look_at_state(session: Session, kind: str) -> State:
    """Return what of the record was brought about, of roles or databases."""
    query = f"SELECT name FROM cenote.made WHERE kind = '{kind}'"  # noqa: S608 - a constant of ours
    return State.of_rows(name for (name,) in await session.rows(SUPERUSER, query))
