"""The roles and databases of a node's server, for what SQL has changed of them."""

from __future__ import annotations

from collections.abc import Collection

from psycopg.sql import SQL, Literal

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import databases, roles
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.sql_changes import Seen
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.rules.sql_changes import pool_databases

# Without an ACL of its own, everybody may connect to a database.  The server remembers the memberships of one
# role, so all databases are looked at for one role, and then for the next.
_REFUSED = SQL(
    """
WITH base AS MATERIALIZED (
    SELECT oid, datname FROM pg_database
    WHERE datname = ANY ({names}::text[]) AND datacl IS NOT NULL
        AND NOT EXISTS (SELECT FROM aclexplode(datacl) WHERE grantee = 0 AND privilege_type = 'CONNECT')
), role AS MATERIALIZED (
    SELECT oid, rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper
)
SELECT datname, array_agg(rolname::text)
FROM role CROSS JOIN LATERAL (
    SELECT datname FROM base WHERE NOT has_database_privilege(role.oid, base.oid, 'CONNECT') OFFSET 0
) AS refusing
GROUP BY datname
"""
)


async def look(inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    return Seen(
        await roles.look(inspector, context, session),
        await databases.look(inspector, context, session),
        await _refused(pool_databases(context.cluster, context.by_sql), session),
    )


async def _refused(names: Collection[str], session: Session) -> dict[str, tuple[str, ...]]:
    if not names:
        return {}
    rows = await session.rows(SUPERUSER, _REFUSED.format(names=Literal(sorted(names))).as_string(None))
    return {database: tuple(users) for database, users in rows}
