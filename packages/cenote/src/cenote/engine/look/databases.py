"""The databases of a node's server."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.databases import Seen
from cenote.host.inspector import Inspector
from cenote.host.sql import Session


async def look(_inspector: Inspector, _context: NodeContext, session: Session) -> Seen:
    databases = await session.rows(SUPERUSER, "SELECT datname, pg_get_userbyid(datdba) FROM pg_database")
    made = await session.rows(SUPERUSER, "SELECT name FROM cenote.made WHERE kind = 'database'")
    return Seen(dict(databases), frozenset(name for (name,) in made))
