"""Whether Patroni has run a node that is its cluster's only one."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import loaded, managed, slots
from cenote.engine.look.postgresql import is_ready
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.release import Seen
from cenote.host import files
from cenote.host.inspector import Inspector
from cenote.host.sql import Session


async def look(inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    if files.mode_of(context.paths.patroni) is None:
        return Seen(has_folder=False)
    running = loaded.look(context.failover_agent).process is not None
    if not is_ready(context.server, loaded.look(context.server)):
        return Seen(has_folder=True, running=running, recovering=True, slots=None)
    [(recovering,)] = await session.rows(SUPERUSER, "SELECT pg_is_in_recovery()")
    return Seen(
        has_folder=True,
        running=running,
        recovering=recovering,
        slots=(await slots.look(inspector, context, session)).slots,
        password=managed.password(context),
    )
