"""Whether a node's server still runs as a standby."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import loaded
from cenote.engine.look.postgresql import is_ready
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.leading import Seen
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.paths import FIRST_NODE


async def look(_inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    # A first node was never a standby, and a server that is not ready is the next part's.
    if context.node.name == FIRST_NODE or not is_ready(context.server, loaded.look(context.server)):
        return Seen()
    [(follows,)] = await session.rows(SUPERUSER, "SELECT pg_is_in_recovery()")
    return Seen(follows)
