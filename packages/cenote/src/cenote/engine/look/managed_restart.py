"""What a server that Patroni runs waits for a restart with."""

from __future__ import annotations

from datetime import UTC, datetime

from cenote.conf import patroni
from cenote.engine.look import loaded
from cenote.engine.plan import postgresql
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.managed_restart import Seen
from cenote.host import control_file, processes
from cenote.host.inspector import Inspector
from cenote.host.sql import Session


async def look(inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    found = loaded.look(context.server)
    pending = await waiting(inspector, context, session)
    now = datetime.now(UTC)
    return Seen(
        pending,
        since=now if found.process is None else processes.started_at(found.process),
        at=now,
        outdated=found.process is not None and processes.is_outdated(found.process, context.server),
        least=control_file.least_settings(context.paths.data) if pending else {},
        refused=await inspector.refused(context.server, found, session) if pending else {},
    )


async def waiting(inspector: Inspector, context: NodeContext, session: Session) -> dict[str, str]:
    """Return the settings that wait for a restart of the server, each with its value in force.

    What Patroni gives the server on its command line it says after our file, too, once it has learnt of a
    change; until then the server knows of none.
    """
    found = loaded.look(context.server)
    pending = await inspector.pending_restart(context.server, found, session)
    wanted = patroni.on_command_line(postgresql.settings(context))
    in_force = await inspector.fixed(context.server, found.process, wanted.keys(), session)
    others = {name: value for name, value in pending.items() if name not in wanted}
    return others | {name: value for name, value in in_force.items() if value != wanted[name]}
