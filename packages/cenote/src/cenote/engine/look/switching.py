"""Whether the server of a node that is to give up writing has little left to write."""

from __future__ import annotations

from cenote.engine.look import loaded, managed_restart, replication
from cenote.engine.look.ending import checkpointed
from cenote.engine.look.postgresql import is_ready
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.switching import Seen, asked, to_restart
from cenote.host.inspector import Inspector
from cenote.host.sql import Session


async def look(inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    is_asked = asked(context) is not None or to_restart(context) is not None
    if not is_asked or not is_ready(context.server, loaded.look(context.server)):
        return Seen()
    if to_restart(context) is not None:
        return Seen(running=True, restart=await managed_restart.look(inspector, context, session))
    following = await replication.look(inspector, context, session)
    return Seen(running=True, checkpointed=await checkpointed(session), following=following)
