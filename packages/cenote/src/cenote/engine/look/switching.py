"""Whether the server of a node that is to give up writing has little left to write."""

from __future__ import annotations

from cenote.engine.look import loaded
from cenote.engine.look.ending import checkpointed
from cenote.engine.look.postgresql import is_ready
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.switching import Seen, asked
from cenote.host.inspector import Inspector
from cenote.host.sql import Session


async def look(_inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    if asked(context) is None or not is_ready(context.server, loaded.look(context.server)):
        return Seen()
    return Seen(running=True, checkpointed=await checkpointed(session))
