"""Whether a node's server still runs as a standby."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import loaded
from cenote.engine.look.postgresql import is_ready
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.leading import Seen
from cenote.host import files
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.paths import FIRST_NODE


async def look(_inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    # A first node was a standby only where Patroni had made it one, or as a read replica, with this file.
    if context.node.name == FIRST_NODE and files.mode_of_file(context.paths.standby_signal) is None:
        return Seen()
    if not is_ready(context.server, loaded.look(context.server)):  # that is the next part's
        return Seen()
    [(follows,)] = await session.rows(SUPERUSER, "SELECT pg_is_in_recovery()")
    return Seen(follows)
