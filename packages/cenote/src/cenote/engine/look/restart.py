"""The settings of PostgreSQL that wait for a restart."""

from __future__ import annotations

from datetime import UTC, datetime

from cenote.engine.look import loaded
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.postgresql import configuration_file
from cenote.engine.plan.restart import Seen
from cenote.host import files, processes
from cenote.host.inspector import Inspector
from cenote.host.sql import Session


async def look(inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    found = loaded.look(context.server)
    pending = await inspector.pending_restart(context.server, found, session)
    now = datetime.now(UTC)
    since = now if found.process is None else processes.started_at(found.process)
    content = files.read(configuration_file(context))
    refused = await inspector.refused(context.server, found, session) if pending else {}
    return Seen(pending, found.digest or "unknown", since, now, content, refused)
