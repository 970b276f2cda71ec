"""What works of a node while another one of its cluster is upgraded, and whose data it has."""

from __future__ import annotations

from cenote.engine.look import loaded
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.former_standby import Seen
from cenote.host import control_file, processes
from cenote.host.inspector import Inspector
from cenote.host.sql import Session


async def look(_inspector: Inspector, context: NodeContext, _session: Session) -> Seen:
    if context.cluster.major_upgrade is None:
        return Seen()
    data = context.paths.data
    return Seen(
        managed=loaded.look(context.failover_agent).process is not None,
        running=loaded.look(context.server).process is not None or bool(processes.below(data, "postgres")),
        system=control_file.system(data),
    )
