"""Who may log in to a running PgBouncer: its files for that, and what it has loaded."""

from __future__ import annotations

from cenote.engine.look import loaded
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.pooler import configuration_files
from cenote.engine.plan.pooler_access import Seen
from cenote.host import files
from cenote.host.inspector import Inspector
from cenote.host.sql import Session


async def look(inspector: Inspector, context: NodeContext, _session: Session) -> Seen:
    found = loaded.look(context.bouncer)
    listening = found.process is not None and inspector.listens(found.process, context.node.pool_port)
    return Seen(
        files=loaded.look_at_files(tuple(configuration_files(context))),
        certificate=files.read(context.cluster_paths.certificate),
        loaded=found,
        listening=listening,
    )
