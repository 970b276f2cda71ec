"""What the databases that are to be dropped hold, once nobody comes in any more."""

from __future__ import annotations

from psycopg.sql import SQL, Literal

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import ledger
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.dropped_databases import Held, Seen
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.records import RemovalKind

_HELD = SQL(
    """
SELECT datname, datallowconn AND datconnlimit <> -2,
    ARRAY(SELECT gid FROM pg_prepared_xacts WHERE database = datname ORDER BY gid),
    ARRAY(SELECT subname::text FROM pg_subscription WHERE subdbid = pg_database.oid ORDER BY subname)
FROM pg_database WHERE datname = ANY ({names}::text[])
"""
)


async def look(_inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    names = (await ledger.look(session, context.cluster)).leftover(context.cluster, RemovalKind.DATABASE)
    if not names:
        return Seen()
    rows = await session.rows(SUPERUSER, _HELD.format(names=Literal(names)).as_string(None))
    return Seen(tuple(names), {name: Held(allows, *map(tuple, held)) for name, allows, *held in rows})
