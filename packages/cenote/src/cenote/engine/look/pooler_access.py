"""Who may log in to a running PgBouncer: its files for that, and whether it has read them."""

from __future__ import annotations

from cenote.engine.look import loaded, pooler
from cenote.engine.plan import loaded as judged
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.pooler import configuration_files
from cenote.engine.plan.pooler_access import Seen
from cenote.host import files
from cenote.host.inspector import Inspector
from cenote.host.sql import Session


async def look(inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    process = loaded.look(context.bouncer)
    if process.process is None or not inspector.listens(process.process, context.node.pool_port):
        return Seen()
    read = loaded.look_at_files(tuple(configuration_files(context)))
    found = {path: content for path, content in read.items() if content is not None}
    certificate = files.read(context.cluster_paths.certificate)
    if process.digest == judged.digest(*found.values(), certificate or b""):
        return Seen(files=found, certificate=certificate, loaded=process)
    return Seen(unread=await pooler.look(inspector, context, session))
