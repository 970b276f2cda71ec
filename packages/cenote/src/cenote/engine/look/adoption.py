"""What the server of a node has that we made and its record does not name."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import databases, ledger, roles
from cenote.engine.plan import adoption
from cenote.engine.plan.adoption import Seen
from cenote.engine.plan.context import NodeContext
from cenote.host.inspector import Inspector
from cenote.host.sql import Session

_GRANTS = "SELECT name FROM cenote.made WHERE kind = 'grant'"


async def look(inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    """Return the ledger; with the rest only if there is something to adopt, or a fork to be looked up."""
    made = await ledger.look(session, context.cluster)
    if not adoption.is_due(context, made):
        return Seen(made)
    return Seen(
        made,
        await roles.look(inspector, context, session),
        await databases.look(inspector, context, session),
        frozenset(name for (name,) in await session.rows(SUPERUSER, _GRANTS)),
    )
