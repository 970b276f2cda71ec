"""Whether a node was marked as one that has given up writing."""

from __future__ import annotations

from cenote.engine.look import loaded
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.given_up import Seen
from cenote.host import files, processes
from cenote.host.inspector import Inspector
from cenote.host.sql import Session


async def look(_inspector: Inspector, context: NodeContext, _session: Session) -> Seen:
    paths = context.paths
    has_data, content = files.mode_of(paths.data) is not None, files.read(paths.given_up)
    if content is None:
        return Seen(has_data)
    lines = content.decode(errors="replace").splitlines() or [""]
    found = loaded.look(context.server).process
    running = found is not None or bool(processes.below(paths.data, "postgres"))
    return Seen(has_data, lines[0], running)
