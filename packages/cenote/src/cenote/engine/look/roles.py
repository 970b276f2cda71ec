"""The roles of a node's server."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import ledger
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.ledger import ROLE_STATE
from cenote.engine.plan.roles import Role, Seen
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.records import ADMIN_USER

# Users can set a verifier of any length for themselves; pools take none of that length.
_ROLES = f"""
SELECT rolname, left(rolpassword, 1000), rolcanlogin, rolsuper,
       rolcreaterole AND rolcreatedb AND rolreplication AND rolbypassrls,
       rolreplication,
       EXISTS (SELECT FROM pg_auth_members JOIN pg_roles AS holder ON holder.oid = member
               WHERE roleid = role.oid AND holder.rolname = '{ADMIN_USER}' AND admin_option),
       oid::bigint,
       CASE WHEN isfinite(rolvaliduntil) THEN extract(epoch FROM rolvaliduntil - now())::float8
            WHEN rolvaliduntil < now() THEN 0 END,
       rolconnlimit
FROM pg_authid AS role WHERE rolname !~ '^pg_'
"""  # noqa: S608 - a constant of ours


async def look(_inspector: Inspector, _context: NodeContext, session: Session) -> Seen:
    rows = await session.rows(SUPERUSER, _ROLES)
    made = await session.rows(SUPERUSER, "SELECT name FROM cenote.made WHERE kind = 'role'")
    state = await ledger.look_at_state(session, ROLE_STATE)
    return Seen({name: Role(*rest) for name, *rest in rows}, frozenset(name for (name,) in made), state)
