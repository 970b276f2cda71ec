"""The databases of a node's server."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import ledger
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.databases import Found, Seen
from cenote.engine.plan.ledger import DATABASE_STATE
from cenote.host.inspector import Inspector
from cenote.host.sql import Session

# A database that an interrupted DROP DATABASE has left (-2) is none.
_DATABASES = """
SELECT datname, pg_get_userbyid(datdba), oid::bigint, datallowconn, datconnlimit
FROM pg_database WHERE datconnlimit <> -2
"""


async def look(_inspector: Inspector, _context: NodeContext, session: Session) -> Seen:
    rows = await session.rows(SUPERUSER, _DATABASES)
    made = await session.rows(SUPERUSER, "SELECT name FROM cenote.made WHERE kind = 'database'")
    state = await ledger.look_at_state(session, DATABASE_STATE)
    return Seen({name: Found(*rest) for name, *rest in rows}, frozenset(name for (name,) in made), state)
