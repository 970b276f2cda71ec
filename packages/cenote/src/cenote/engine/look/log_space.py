"""The extent of the logs, and how far the log sinks have got."""

from __future__ import annotations

from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.log_space import Seen
from cenote.host import files, log_files
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.logs import positions
from cenote.model.records import LogSource


async def look(_inspector: Inspector, context: NodeContext, _session: Session) -> Seen:
    logs = {source: log_files.extent(context.paths.log(source)) for source in LogSource}
    contents = (files.read(context.paths.sink(sink.id)) for sink in context.cluster.sinks)
    return Seen(
        {source: extent for source, extent in logs.items() if extent is not None},
        tuple(positions.decode(content) for content in contents if content is not None),
    )
