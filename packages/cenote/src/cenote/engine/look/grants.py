"""The grants that were carried out."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import ledger
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.grants import Seen
from cenote.host.inspector import Inspector
from cenote.host.sql import Session

_THERE = """
SELECT ARRAY(SELECT rolname::text FROM pg_roles),
    ARRAY(SELECT datname::text FROM pg_database WHERE datallowconn AND datconnlimit <> -2)
"""


async def look(_inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    rows = await session.rows(
        SUPERUSER, "SELECT kind, name FROM cenote.made WHERE kind IN ('grant', 'makers')"
    )
    [(roles, databases)] = await session.rows(SUPERUSER, _THERE)
    return Seen(
        frozenset(name for kind, name in rows if kind == "grant"),
        frozenset(name for kind, name in rows if kind == "makers"),
        frozenset(roles),
        frozenset(databases),
        await ledger.look(session, context.cluster),
    )
