"""The users and databases that are to be dropped, and the clients that they have."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import ledger
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.lock_out import Seen
from cenote.errors import CenoteError
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.records import RemovalKind

_ROLES = "SELECT rolname FROM pg_roles"
# An interrupted DROP DATABASE leaves a database with this limit of connections, to be dropped again.
_DATABASES = "SELECT datname FROM pg_database WHERE datconnlimit <> -2"


async def look(_inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    found = await ledger.look(session, context.cluster)
    users = found.leftover(context.cluster, RemovalKind.USER)
    databases = found.leftover(context.cluster, RemovalKind.DATABASE)
    if not users and not databases:
        return Seen()
    roles = {name for (name,) in await session.rows(SUPERUSER, _ROLES)}
    there = {name for (name,) in await session.rows(SUPERUSER, _DATABASES)}
    return Seen(
        tuple(name for name in users if name in roles),
        tuple(name for name in databases if name in there),
        await _pooled(session) if users else {},
    )


async def _pooled(session: Session) -> dict[str, tuple[int, ...]]:
    """Return the ids of PgBouncer's clients by user; none while it is down, or where it has no ids (1.23)."""
    try:
        clients = await session.console("SHOW CLIENTS")
    except CenoteError:
        return {}
    found: dict[str, list[int]] = {}
    for client in clients:
        if "id" in client:
            found.setdefault(client["user"], []).append(client["id"])
    return {user: tuple(ids) for user, ids in found.items()}
