"""How far the restore of a node's data is."""

from __future__ import annotations

from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.restore import Seen
from cenote.host import files, restore_files
from cenote.host.inspector import Inspector
from cenote.host.sql import Session


async def look(_inspector: Inspector, context: NodeContext, _session: Session) -> Seen:
    has_data = files.mode_of(context.paths.data) is not None
    restoration = context.cluster.restoration
    asked_at = None if restoration is None else restoration.asked_at
    state = restore_files.read_state(context.paths.restore_state)
    return Seen(has_data, state if state is not None and state.asked_at == asked_at else None)
