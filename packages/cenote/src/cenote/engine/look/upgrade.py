"""What of a server still has the layout of a former version."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.ledger import LAYOUT, MOVED, PRESENT_LAYOUT
from cenote.engine.plan.upgrade import Seen
from cenote.host.inspector import Inspector
from cenote.host.sql import Session

_NOTED = f"SELECT kind, name FROM cenote.made WHERE kind IN ('{LAYOUT}', '{MOVED}')"  # noqa: S608 - constants
# An interrupted DROP DATABASE leaves a database with this limit of connections, which takes no connection.
_DATABASES = (
    "SELECT datname, datallowconn FROM pg_database WHERE datname <> 'template0' AND datconnlimit <> -2"
)


async def look(_inspector: Inspector, _context: NodeContext, session: Session) -> Seen:
    noted = set(await session.rows(SUPERUSER, _NOTED))
    if (LAYOUT, PRESENT_LAYOUT) in noted:
        return Seen()
    databases = dict(await session.rows(SUPERUSER, _DATABASES))
    return Seen(databases, frozenset(name for kind, name in noted if kind == MOVED))
