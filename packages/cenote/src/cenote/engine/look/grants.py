"""The grants that were carried out."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.grants import Seen
from cenote.host.inspector import Inspector
from cenote.host.sql import Session


async def look(_inspector: Inspector, _context: NodeContext, session: Session) -> Seen:
    rows = await session.rows(SUPERUSER, "SELECT name FROM cenote.made WHERE kind = 'grant'")
    return Seen(frozenset(name for (name,) in rows))
