"""The servers whose program file was replaced since they were started."""

from __future__ import annotations

from datetime import UTC, datetime

from cenote.engine.look import loaded
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.outdated_binaries import Seen
from cenote.engine.plan.postgresql import configuration_file
from cenote.host import files, processes
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.changes import Program


async def look(_inspector: Inspector, context: NodeContext, _session: Session) -> Seen:
    found = {program.name: _outdated_since(program) for program in (context.server, context.bouncer)}
    return Seen(
        {name: since for name, since in found.items() if since is not None},
        loaded.look(context.server).digest or "unknown",
        datetime.now(UTC),
        files.read(configuration_file(context)),
    )


def _outdated_since(program: Program) -> datetime | None:
    process = processes.find(program)
    if process is None or not processes.is_outdated(process, program):
        return None
    return processes.started_at(process)
