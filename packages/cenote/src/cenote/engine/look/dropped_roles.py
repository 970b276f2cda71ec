"""What the roles that are to be dropped own and were granted, in all databases at once (``pg_shdepend``)."""

from __future__ import annotations

from psycopg.sql import SQL, Literal

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import ledger
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.dropped_roles import Role, Seen
from cenote.engine.plan.ledger import OPENED, OWNER
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.records import RemovalKind

# A database that an interrupted DROP DATABASE has left (-2) takes no connection, and nothing in it matters.
_ROLES = SQL(
    """
SELECT rolname, role.oid,
    EXISTS (SELECT FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = role.oid
        AND deptype = 'o' AND classid NOT IN ('pg_database'::regclass, 'pg_default_acl'::regclass)),
    ARRAY(SELECT datname::text FROM pg_database WHERE datdba = role.oid ORDER BY datname),
    ARRAY(SELECT DISTINCT coalesce(datname, {superuser})::text
        FROM pg_shdepend LEFT JOIN pg_database ON pg_database.oid = dbid
        WHERE refclassid = 'pg_authid'::regclass AND refobjid = role.oid
        AND datconnlimit IS DISTINCT FROM -2 ORDER BY 1),
    ARRAY(SELECT ARRAY[database, gid] FROM pg_prepared_xacts WHERE owner = rolname ORDER BY database, gid),
    ARRAY(SELECT ARRAY[datname, subname]::text[] FROM pg_subscription
        JOIN pg_database ON pg_database.oid = subdbid WHERE subowner = role.oid ORDER BY datname, subname)
FROM pg_roles AS role WHERE rolname = ANY ({names}::text[])
"""
)
_CONNECTABLE = "SELECT datname, datallowconn FROM pg_database"
_EMPTY = SQL(
    """
SELECT name FROM unnest({names}::text[]) AS name LEFT JOIN pg_roles ON rolname = name
WHERE NOT EXISTS (SELECT FROM pg_shdepend
    WHERE refclassid = 'pg_authid'::regclass AND refobjid = pg_roles.oid AND deptype = 'o')
ORDER BY name
"""
)


async def look(_inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    found = await ledger.look(session, context.cluster)
    databases = dict(await session.rows(SUPERUSER, _CONNECTABLE))
    opened = tuple(sorted(found.of(OPENED) & databases.keys()))
    lost = tuple(sorted(found.of(OPENED) - databases.keys()))
    names = found.leftover(context.cluster, RemovalKind.USER)
    owners = sorted(found.of(OWNER))
    if not names:
        return Seen(opened=opened, lost=lost, empty=await _empty(owners, session))
    query = _ROLES.format(superuser=Literal(SUPERUSER), names=Literal(names))
    roles = {
        name: Role(oid, owns, tuple(databases), tuple(places), _pairs(prepared), _pairs(subscriptions))
        for name, oid, owns, databases, places, prepared, subscriptions in await session.rows(
            SUPERUSER, query.as_string(None)
        )
    }
    return Seen(
        tuple(names),
        roles,
        closed=frozenset(name for name, allows in databases.items() if not allows),
        owners=frozenset(owners),
        opened=opened,
        lost=lost,
        empty=await _empty(owners, session),
    )


async def _empty(owners: list[str], session: Session) -> tuple[str, ...]:
    if not owners:
        return ()
    rows = await session.rows(SUPERUSER, _EMPTY.format(names=Literal(owners)).as_string(None))
    return tuple(name for (name,) in rows)


def _pairs(rows: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((first, second) for first, second in rows)
