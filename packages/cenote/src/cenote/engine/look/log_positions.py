"""The log sinks that have a position, and where the logs end."""

from __future__ import annotations

from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.log_positions import Seen
from cenote.host import files, log_files
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.records import LogSource


async def look(_inspector: Inspector, context: NodeContext, _session: Session) -> Seen:
    names, paths = files.names(context.cluster_paths.root), context.paths
    known = frozenset(sink for name in names if (sink := paths.sink_id(name)) is not None)
    return Seen(known, {source: log_files.end(paths.log(source)) for source in LogSource})
