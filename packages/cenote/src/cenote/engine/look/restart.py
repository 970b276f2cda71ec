"""Whether PostgreSQL waits for a restart."""

from __future__ import annotations

from cenote.engine.look import loaded
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.restart import Seen
from cenote.host.inspector import Inspector
from cenote.host.sql import Session


async def look(inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    found = loaded.look(context.server)
    pending = await inspector.pending_restart(context.server, found, session)
    return Seen(pending, found.digest or "unknown")
